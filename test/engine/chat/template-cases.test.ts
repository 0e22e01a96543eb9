// What other engines were reported to render otherwise, and content that is read as parts. Oracle: Jinja2 3.1.6.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Message } from "../../../src/context/text/message.ts";
import { ChatTemplate } from "../../../src/engine/chat/chat-template.ts";

interface Case {
  readonly name: string;
  readonly template: string;
  readonly messages: readonly Message[];
  readonly expected: string;
}

const file = new URL("../../fixtures/chat-cases/cases.json", import.meta.url);
const CASES: readonly Case[] = JSON.parse(readFileSync(file, "utf8"));
const TOKENS = { bos: "<s>", eos: "</s>" };

test.each(CASES)("$name", ({ template, messages, expected }) => {
  const rendered = new ChatTemplate(template, TOKENS).render(messages, {
    addGenerationPrompt: true,
  });
  expect(rendered).toBe(expected);
});

describe("content is given", () => {
  const messages: readonly Message[] = [
    { role: "system", content: "Be kind." },
    { role: "user", content: "Hi" },
  ];
  const loop = (body: string) => `{% for m in messages %}${body};{% endfor %}`;

  test.each([
    ["as parts to a loop", loop("{% for p in m.content %}{{ p.text }}{% endfor %}")],
    ["as parts to an index", loop("{{ m.content[0]['text'] }}")],
    [
      "as parts to a selection",
      loop(
        "{{ m.content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join }}",
      ),
    ],
    ["as a text to what prints it", loop("{{ m.content }}{# text #}")],
    [
      "as a text to what takes both",
      loop(
        "{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}!{% endif %}",
      ),
    ],
    ["by role", loop("{{ m.content if m.role == 'system' else m.content[0].text }}")],
  ])("%s", (_, source) => {
    expect(new ChatTemplate(source).render(messages)).toBe("Be kind.;Hi;");
  });
});
