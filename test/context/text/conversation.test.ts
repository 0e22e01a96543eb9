// Conversations as files: what is written is read again, and what is wrong is told in one line with its place.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readConversation, writeConversation } from "../../../src/context/text/conversation.ts";
import { type Message, ROLES } from "../../../src/context/text/message.ts";
import { UserError } from "../../../src/errors.ts";

const conversations = fc.array(
  fc.record({
    role: fc.constantFrom(...ROLES),
    content: fc.string({ unit: "binary" }),
  }),
  { minLength: 1 },
);

const talk: Message[] = [
  { role: "system", content: "Be kind." },
  { role: "user", content: 'Say "hi"\nand \u2028 東京' },
  { role: "assistant", content: "" },
];

test("what is written is read again, a message on each line", () => {
  fc.assert(
    fc.property(conversations, (conversation) => {
      const text = writeConversation(conversation);
      expect(readConversation(text)).toEqual(conversation);
      expect(text.split("\n").length).toBe(conversation.length + 3);
    }),
  );
});

test("arrays, objects with messages, JSON Lines, byte order marks and fields that are not ours", () => {
  const lines = talk.map((message) => JSON.stringify({ ...message, name: "Lily" }));
  for (const text of [
    JSON.stringify(talk),
    JSON.stringify({ model: "m", messages: talk }, undefined, 2),
    `\ufeff${JSON.stringify(talk)}`,
    `[${lines.join(",")}]`,
    lines.join("\n"),
    `${lines.join("\r\n\r\n")}\r\n`,
  ]) {
    expect(readConversation(text)).toEqual(talk);
  }
  expect(readConversation(lines[0]!)).toEqual(talk.slice(0, 1));
});

const first = '{"role":"user","content":"a"}';

describe("refuses, with the place", () => {
  test.each<[string, RegExp]>([
    ["", /^An empty conversation: expected a JSON array/],
    [" \n", /^An empty conversation/],
    ["[]", /^A conversation without messages/],
    ['{"messages":[]}', /^A conversation without messages/],
    ["once upon a time", /^Not JSON \(.*\): expected a JSON array/],
    [`[${first},`, /^Not JSON/],
    [`[\n${first},\n`, /^Not JSON/],
    ["{}", /^Not a conversation but \{\}/],
    ["3", /^Not a conversation but 3/],
    ["null", /^Not a conversation but null/],
    ['"hello"', /^Not a conversation but "hello"/],
    ['{"messages":{}}', /^Not a conversation but \{ messages: \{\} \}/],
    [`${first}\n{"role":`, /^Line 2 is not JSON/],
    [`${first}\n\noops`, /^Line 3 is not JSON/],
    [`${first}\n7`, /^Message 2 is 7/],
    ["[1]", /^Message 1 is 1: expected \{ "role", "content" \}/],
    [`[${first},[]]`, /^Message 2 is \[\]/],
    [`[${first},null]`, /^Message 2 is null/],
    [
      `[${first},{"content":"b"}]`,
      /^Message 2 has no role: expected one of system, user, assistant/,
    ],
    [`[${first},{"role":"tool","content":"b"}]`, /^Message 2 has the role "tool": expected one of/],
    [`[${first},{"role":"User","content":"b"}]`, /^Message 2 has the role "User"/],
    ['[{"role":7,"content":"b"}]', /^Message 1 has the role 7/],
    ['[{"role":["user"],"content":"b"}]', /^Message 1 has the role \["user"\]/],
    [`[{"role":"${"x".repeat(999)}"}]`, /^Message 1 has the role "x{80}…"/],
    ['[{"role":"a\\nb"}]', /^Message 1 has the role "a\\nb"/],
    ['[{"role":"user"}]', /^Message 1 \(user\) has no content: expected a text/],
    ['[{"role":"user","content":null}]', /^Message 1 \(user\) has null for its content/],
    [
      '[{"role":"user","content":[{"type":"text"}]}]',
      /^Message 1 \(user\) has \[\{ type: "text" \}\] for/,
    ],
    [`${"[".repeat(1e5)}${"]".repeat(1e5)}`, /^Message 1 is \[\[\[…\]\]\]/],
    ['[{"__proto__":{"role":"user","content":"b"}}]', /^Message 1 has no role/],
  ])("%.60s", (text, message) => {
    expect(() => readConversation(text)).toThrow(UserError);
    expect(() => readConversation(text)).toThrow(message);
    expect(() => readConversation(text)).not.toThrow(/\n/);
  });

  test("whatever the bytes, a conversation or one line", () => {
    fc.assert(
      fc.property(conversations, fc.nat(), fc.string({ maxLength: 3 }), (talk, at, change) => {
        const text = writeConversation(talk);
        const cut = at % text.length;
        const damaged = text.slice(0, cut) + change + text.slice(cut + 1 + (at % 7));
        try {
          for (const { role, content } of readConversation(damaged)) {
            expect(ROLES).toContain(role);
            expect(typeof content).toBe("string");
          }
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
          expect((error as Error).message).toMatch(/^[^\n\r]+$/);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
