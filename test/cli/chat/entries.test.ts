// Lines to entries: several lines by quotes, backslashes and pastes; what comes back from a history; keys to pastes.

import { emitKeypressEvents } from "node:readline";
import { PassThrough } from "node:stream";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { asEntered, type Entry, EntryReader } from "../../../src/cli/chat/entry-reader.ts";
import { PasteReader, plainText, type Typed } from "../../../src/cli/chat/paste-reader.ts";
import { UserError } from "../../../src/errors.ts";

/** The entries of lines as a pipe gives them. */
function entriesOf(lines: readonly string[]): Entry[] {
  const entries: Entry[] = [];
  let reader = new EntryReader();
  for (const line of lines) {
    const entry = reader.take(line);
    if (!entry) continue;
    entries.push(entry);
    reader = new EntryReader();
  }
  const last = reader.end();
  return last ? [...entries, last] : entries;
}

const message = (text: string): Entry => ({ kind: "message", text });
const command = (text: string): Entry => ({ kind: "command", text });

test.each<[string, string[], Entry[]]>([
  ["lines", ["one ", "  two", ""], [message("one"), message("two"), message("")]],
  [
    "quotes",
    ['"""', "one", "", "  two ", '"""', "three"],
    [message("one\n\n  two "), message("three")],
  ],
  ["quotes beside the text", ['"""one', 'two"""'], [message("one\ntwo")]],
  ["quotes in one line", ['"""one"""', ' """ two """ '], [message("one"), message(" two ")]],
  ["quotes around nothing", ['""""""', '"""', '"""'], [message(""), message("")]],
  ["quotes within a line", ['say """ twice', "more"], [message('say """ twice'), message("more")]],
  ["lines in quotes that look otherwise", ['"""', "/bye", "a\\", '"""'], [message("/bye\na\\")]],
  [
    "backslashes",
    ["one \\", "two\\", "three", "four"],
    [message("one \ntwo\nthree"), message("four")],
  ],
  ["a backslash that is escaped", ["a & b \\\\", "c"], [message("a & b \\\\"), message("c")]],
  ["a backslash at the end of the input", ["one\\"], [message("one")]],
  ["a backslash before quotes", ["one\\", '"""two"""'], [message('one\n"""two"""')]],
  [
    "commands",
    ["/usage", " /set temperature 0 "],
    [command("/usage"), command("/set temperature 0")],
  ],
  [
    "a command of several lines",
    ["/system Be kind.\\", "Be brief."],
    [command("/system Be kind.\nBe brief.")],
  ],
  [
    "a command with quotes",
    ['/system """Be kind.', "/bye", '"""'],
    [command("/system Be kind.\n/bye")],
  ],
])("%s", (_, lines, expected) => {
  expect(entriesOf(lines)).toEqual(expected);
});

test("quotes that are never closed are a mistake, and which line is to come is known", () => {
  expect(() => entriesOf(['"""one', "two"])).toThrow(UserError);
  const reader = new EntryReader();
  expect(reader.isOpen).toBe(false);
  expect(reader.take('"""')).toBeUndefined();
  expect(reader.isOpen).toBe(true);
});

describe("pasted lines", () => {
  const take = (line: string, ...pastes: string[]) => new EntryReader().take(line, pastes);
  const code = '"""A module."""\nimport os \\\n\n"""';

  test.each<[string, Entry | undefined]>([
    [`${code}`, message(code)],
    [`${code} explain`, message(`${code} explain`)],
    [`explain: ${code}`, message(`explain: ${code}`)],
    [`"""${code}`, undefined],
    [`"""${code}"""`, message(code)],
    [`${code}\\`, undefined],
    [`/system ${code}`, command(`/system ${code}`)],
  ])("%j are taken as they are", (line, expected) => {
    expect(take(line, code)).toEqual(expected);
  });

  test("are no command, and keep their indentation but not the empty lines around them", () => {
    const paths = "\n  /usr/bin\n  /bin\n\n";
    expect(take(paths, paths)).toEqual(message("  /usr/bin\n  /bin"));
    expect(take("/usage", "/usage")).toEqual(command("/usage"));
  });

  test("go on within quotes until quotes are typed", () => {
    const reader = new EntryReader();
    expect(reader.take('"""')).toBeUndefined();
    expect(reader.take(code, [code])).toBeUndefined();
    expect(reader.take('"""')).toEqual(message(code));
  });
});

test("what a history brings back is read as what was said", () => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom('"""', '"""a', 'a"""', "/usage", "/system a", "a\\", " a ", "", "\t"),
  );
  fc.assert(
    fc.property(fc.array(line, { minLength: 1, maxLength: 4 }), (lines) => {
      const said = message(lines.join("\n"));
      expect(new EntryReader().take(asEntered(said))).toEqual(said);
    }),
    { examples: [[["a", "b"]], [['"""', "a"]], [["/bye"]], [['a"""', ""]], [["a\\"]]] },
  );
  expect(asEntered(message("a\nb"))).toBe("a\nb");
  expect(asEntered(command("/set seed 1"))).toBe("/set seed 1");
});

/** What a terminal sends, in these pieces. */
function typed(...chunks: string[]): Typed[] {
  const terminal = new PassThrough();
  const pastes = new PasteReader();
  const all: Typed[] = [];
  emitKeypressEvents(terminal);
  terminal.on("keypress", (text, key) => {
    const one = pastes.take(text, key);
    if (one) all.push(one);
  });
  for (const chunk of chunks) terminal.emit("data", Buffer.from(chunk));
  return all;
}

describe("what a terminal marks as pasted", () => {
  const sent = "a\x1b[200~one\r\ttwo é 😀 \x1b[A\x03\r\nthree\n\x1b[201~\x1b[D\r";
  const names = (all: Typed[]) =>
    all.map((one) => (one.kind === "paste" ? one.text : (one.key.name ?? one.text)));
  const pasted = "one\n\ttwo é 😀 [A\nthree\n";

  test("is one text with its line breaks, and the keys around it are keys", () => {
    expect(names(typed(sent))).toEqual(["a", pasted, "left", "return"]);
  });

  test("is one text wherever it is cut on its way", () => {
    for (let at = 1; at < sent.length; at++) {
      if (/[\udc00-\udfff]/.test(sent[at]!)) continue; // halves of a character
      expect(names(typed(sent.slice(0, at), sent.slice(at)))).toEqual([
        "a",
        pasted,
        "left",
        "return",
      ]);
    }
  });

  test("may be empty, large, and end with an escape character", () => {
    const large = "0123456789\n".repeat(20_000);
    expect(typed("\x1b[200~\x1b[201~")).toEqual([{ kind: "paste", text: "" }]);
    expect(typed(`\x1b[200~${large}\x1b[201~`)).toEqual([{ kind: "paste", text: large }]);
    expect(typed("\x1b[200~a\x1b\x1b[201~")).toEqual([{ kind: "paste", text: "a" }]);
  });

  test("has no control characters, which an editor would send back to the terminal", () => {
    expect(plainText("a\x1b[31m\x07b\x7f\u009bc\td\r\r\n\n")).toBe("a[31mbc\td\n\n\n");
  });
});
