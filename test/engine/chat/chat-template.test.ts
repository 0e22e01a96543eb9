// Templates render as Python's Jinja2 renders them, under the settings and the names of Hugging Face's transformers.

import { readdirSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Message } from "../../../src/context/text/message.ts";
import { ChatTemplate } from "../../../src/engine/chat/chat-template.ts";
import { NAMED_TEMPLATES } from "../../../src/engine/chat/named-templates.ts";
import { UserError } from "../../../src/errors.ts";

type Rendered = string | { readonly error: string };
/** One result where the generation prompt makes no difference. */
type Expected = Rendered | { readonly without: Rendered; readonly with: Rendered };

interface Fixture {
  readonly model: string;
  readonly bos: string | null;
  readonly eos: string;
  readonly template: string;
  readonly rendered: Readonly<Record<string, Expected>>;
}

const folder = new URL("../../fixtures/chat/", import.meta.url);
const read = (file: string) => JSON.parse(readFileSync(new URL(file, folder), "utf8"));
const CONVERSATIONS: Readonly<Record<string, readonly Message[]>> = read("conversations.json");
const FIXTURES = readdirSync(folder)
  .filter((file) => file.endsWith(".json") && file !== "conversations.json")
  .map((file): [string, Fixture] => [file.replace(".json", ""), read(file)]);

const tokensOf = ({ bos, eos }: Fixture) => ({ bos: bos ?? undefined, eos });

function expectedOf(expected: Expected, addGenerationPrompt: boolean): Rendered {
  if (typeof expected === "string" || "error" in expected) return expected;
  return addGenerationPrompt ? expected.with : expected.without;
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: new Date(2026, 1, 5, 14, 7, 9) });
});
afterEach(() => {
  vi.useRealTimers();
});

describe.each(FIXTURES)("the template of %s", (_, fixture) => {
  const template = new ChatTemplate(fixture.template, tokensOf(fixture));

  test.each(Object.entries(fixture.rendered))("renders as Jinja2 does: %s", (name, expected) => {
    for (const addGenerationPrompt of [false, true]) {
      const result = expectedOf(expected, addGenerationPrompt);
      const render = () => template.render(CONVERSATIONS[name]!, { addGenerationPrompt });
      if (typeof result === "string") {
        expect(render()).toBe(result);
      } else {
        expect(render).toThrow(UserError);
        expect(render).toThrow(`The chat template refuses this conversation: ${result.error}`);
      }
    }
  });
});

/** Orders of messages that a format has no place for: some templates refuse them, some make something of them. */
const NO_FORMAT = ["two users", "begins with the assistant", "system in the middle"];

describe.each<[name: string, model: string]>([
  ["llama2", "llama2"],
  ["llama3", "llama3"],
  ["chatml", "chatml"],
  // These put a system's message of their own where there is none.
  ["chatml", "smollm2"],
  ["chatml", "qwen2.5"],
  ["mistral", "mistral-v0.2"],
  ["zephyr", "zephyr"],
])("our template %s", (name, model) => {
  const fixture = new Map(FIXTURES).get(model)!;
  const template = new ChatTemplate(NAMED_TEMPLATES.get(name)!, tokensOf(fixture));
  const comparable = Object.entries(fixture.rendered).filter(([conversation]) => {
    const hasSystem = CONVERSATIONS[conversation]![0]!.role === "system";
    return hasSystem || (model !== "smollm2" && model !== "qwen2.5");
  });

  test.each(comparable)(`gives what that of ${model} gives: %s`, (conversation, expected) => {
    for (const addGenerationPrompt of [false, true]) {
      const result = expectedOf(expected, addGenerationPrompt);
      const render = () => template.render(CONVERSATIONS[conversation]!, { addGenerationPrompt });
      if (typeof result !== "string")
        expect(render).toThrow(/refuses this conversation: .*alternate/);
      else if (!NO_FORMAT.includes(conversation)) expect(render()).toBe(result);
    }
  });
});

describe("what else a template may use", () => {
  const render = (
    source: string,
    messages: readonly Message[] = [{ role: "user", content: "x" }],
  ) => new ChatTemplate(source, { bos: "<s>" }).render(messages);

  // Oracle: Jinja2 3.1.6 with the settings of transformers, by hand.
  test.each([
    [
      "{{ '' == false }} {{ 1 == true }} {{ none == false }} {{ [1, 'a'] == [1, 'a'] }}",
      "False True False True",
    ],
    [
      "{{ {'a': [1]} == {'a': [1]} }} {{ {'a': 1} != {'a': 2} }} {{ 'a' == ['a'] }}",
      "True True False",
    ],
    [
      "{{ none }}|{{ nothing }}|{{ true }}|{{ 2 // 3 }}|{{ none == nothing }}",
      "None||True|0|False",
    ],
    [
      "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
      "0134",
    ],
    ["{{ range(2, 9, 3) | list | tojson }} {{ range(3, 0, -1) | join('-') }}", "[2, 5, 8] 3-2-1"],
    ["{{ messages | tojson }}", '[{"role": "user", "content": "x"}]'],
    ["{{ {'b': 1, 'a': ['é']} | tojson(indent=2) }}", '{\n  "b": 1,\n  "a": [\n    "é"\n  ]\n}'],
    ["{% set f = 'a-b'.replace %}{{ f('-', '+') }} {{ 'a b'.split() | length }}", "a+b 2"],
    ["{% macro m(x) %}[{{ x }}{{ varargs | length }}]{% endmacro %}{{ m('y', 1, 2) }}", "[y2]"],
    ["{% filter upper %}a{{ messages[0].content }}{% endfilter %}", "AX"],
    [
      "{% if tools is none and documents is none and eos_token is not defined %}yes{% endif %}",
      "yes",
    ],
    [
      "{{ strftime_now('%d %b %Y, %A %B %H:%M:%S %I %p %y%%') }}",
      "05 Feb 2026, Thursday February 14:07:09 02 PM 26%",
    ],
    ["  {% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb"],
  ])("%s", (source, text) => {
    expect(render(source)).toBe(text);
  });

  test("a source that is no Jinja is told in one line", () => {
    for (const source of [
      "{% if x %}",
      "{{ 'a }}",
      "{{ }}",
      "{% bogus %}",
      "{% break %}",
      "{{ 'x' | nothing }}",
      "{{ (".repeat(20_000),
    ]) {
      expect(() => render(source)).toThrow(UserError);
      expect(() => render(source)).toThrow(/^The chat template does not parse: [^\n]+$/);
    }
  });

  test("what goes wrong while it runs is told in one line, without a stack or a control character", () => {
    for (const source of [
      "{{ none + 1 }}",
      "{{ 'x'.nothing() }}",
      "{% if true %}{{ 'x' | nothing }}{% endif %}",
      "{{ messages[0].content() }}",
      "{{ ' '.join(3) }}",
      "{{ range('a') }}",
      "{{ range(1, 2, 0) }}",
    ]) {
      expect(() => render(source)).toThrow(UserError);
      expect(() => render(source)).toThrow(/^The chat template failed: \P{Cc}+$/u);
    }
    expect(() => render("{{ raise_exception('no\n\u001b[31msystem') }}")).toThrow(
      /^The chat template refuses this conversation: no \[31msystem$/,
    );
  });

  test("only a system, a user and an assistant talk", () => {
    const tool = { role: "<|im_start|>", content: "x" } as unknown as Message;
    expect(() => render("{{ messages[0].role }}", [tool])).toThrow(
      /expected one of system, user, assistant/,
    );
  });
});
