// A template's source as tokens, white space controlled as Jinja2 does with `trim_blocks` and
// `lstrip_blocks`.

import { TemplateSyntaxError, UnsupportedError } from "../errors.ts";
import { shrink } from "../python/numbers.ts";
import { codeEscape } from "../python/printing.ts";
import { SPACES, strip } from "../python/texts.ts";
import { Float, type Int, type Value } from "../python/values.ts";

export interface Token {
  readonly type: "data" | "name" | "string" | "number" | "operator" | "open" | "close" | "end";
  /** The text of data, the name, the operator, the delimiter. */
  readonly text: string;
  /** The value of a string or a number. */
  readonly value: Value;
  readonly line: number;
}

const SPACE = `[${SPACES}]`;
const rule = (pattern: string, flags = "") => new RegExp(pattern, `y${flags}`);

const TAG = /\{[{%#]/g;
const RAW = rule(`\\{%([-+]?)${SPACE}*raw${SPACE}*(?:-%\\}${SPACE}*|%\\})`);
const RAW_END = new RegExp(
  `\\{%([-+]?)${SPACE}*endraw${SPACE}*(?:\\+%\\}|-%\\}${SPACE}*|%\\}\\n?)`,
  "g",
);
const COMMENT_END = new RegExp(`\\+#\\}|-#\\}${SPACE}*|#\\}\\n?`, "g");
const CLOSE = {
  "{%": rule(`\\+%\\}|-%\\}${SPACE}*|%\\}\\n?`),
  "{{": rule(`-\\}\\}${SPACE}*|\\}\\}`),
};

const BLANK = rule(`${SPACE}+`);
const FLOAT = rule(
  "(?<!\\.)(?:\\d+_)*\\d+(?:(?:\\.(?:\\d+_)*\\d+)?e[+-]?(?:\\d+_)*\\d+|\\.(?:\\d+_)*\\d+)",
  "i",
);
const INTEGER = rule(
  "0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\\da-f])+|[1-9](?:_?\\d)*|0(?:_?0)*",
  "i",
);
const NAME = rule("[\\p{ID_Start}_][\\p{ID_Continue}]*", "u");
const STRING = rule("'[^'\\\\]*(?:\\\\.[^'\\\\]*)*'|\"[^\"\\\\]*(?:\\\\.[^\"\\\\]*)*\"", "s");
const OPERATOR = rule("\\*\\*|//|==|!=|>=|<=|[-+/*%~[\\](){}><=.:|,;]");

const CLOSING: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

export function tokenize(source: string): Token[] {
  return new Lexer(source).run();
}

class Lexer {
  /** One kind of line end, and none at the end. */
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  #lineAt = 0;

  constructor(source: string) {
    this.#source = source.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  }

  run(): Token[] {
    const source = this.#source;
    for (;;) {
      TAG.lastIndex = this.#at;
      const tag = TAG.exec(source);
      if (!tag) break;
      const open = tag[0];
      RAW.lastIndex = tag.index;
      const raw = open === "{%" ? RAW.exec(source) : null;
      const sign = raw ? raw[1]! : (/[-+]/.exec(source[tag.index + 2] ?? "")?.[0] ?? "");
      this.#data(tag.index, sign, open);
      if (raw) {
        this.#at = RAW.lastIndex;
        this.#rawBlock();
        continue;
      }
      this.#at = tag.index + 2 + sign.length;
      if (open === "{#") this.#comment();
      else this.#tag(open as "{%" | "{{");
    }
    this.#push("data", source.slice(this.#at));
    this.#at = source.length;
    this.#push("end", "");
    return this.#tokens;
  }

  /** Text up to a tag, without the white space that the tag takes from it. */
  #data(to: number, sign: string, open: string): void {
    let text = this.#source.slice(this.#at, to);
    if (sign === "-") text = strip(text, undefined, "right");
    else if (sign !== "+" && open !== "{{") {
      const lineStart = text.lastIndexOf("\n") + 1;
      const beginsLine = lineStart > 0 || this.#at === 0 || this.#source[this.#at - 1] === "\n";
      if (beginsLine && strip(text.slice(lineStart)) === "") text = text.slice(0, lineStart);
    }
    this.#push("data", text);
  }

  #rawBlock(): void {
    RAW_END.lastIndex = this.#at;
    const end = RAW_END.exec(this.#source);
    if (!end) throw this.#error("a raw block has no end");
    this.#data(end.index, end[1]!, "{%");
    this.#at = RAW_END.lastIndex;
  }

  #comment(): void {
    COMMENT_END.lastIndex = this.#at;
    if (!COMMENT_END.exec(this.#source)) throw this.#error("a comment has no end");
    this.#at = COMMENT_END.lastIndex;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#source)?.[0];
  }

  #tag(open: "{%" | "{{"): void {
    this.#push("open", open);
    const brackets: string[] = [];
    for (;;) {
      const close = brackets.length === 0 ? this.#match(CLOSE[open]) : undefined;
      if (close !== undefined) {
        this.#push("close", open === "{%" ? "%}" : "}}");
        this.#at += close.length;
        return;
      }
      this.#at += this.#match(BLANK)?.length ?? 0;
      if (brackets.length === 0 && this.#match(CLOSE[open]) !== undefined) continue;
      if (this.#at >= this.#source.length) throw this.#error("the template ends within a tag");
      this.#at += this.#token(brackets);
    }
  }

  /** Its length. */
  #token(brackets: string[]): number {
    const float = this.#match(FLOAT);
    if (float !== undefined) {
      return this.#push("number", float, new Float(Number(float.replaceAll("_", ""))));
    }
    const integer = this.#match(INTEGER);
    if (integer !== undefined) return this.#push("number", integer, intOf(integer));
    const name = this.#match(NAME);
    if (name !== undefined) return this.#push("name", name);
    const string = this.#match(STRING);
    if (string !== undefined)
      return this.#push("string", string, this.#unescaped(string.slice(1, -1)));
    const operator = this.#match(OPERATOR);
    if (operator === undefined) {
      const character = String.fromCodePoint(this.#source.codePointAt(this.#at)!);
      throw this.#error(`unexpected ${JSON.stringify(character)}`);
    }
    const closing = CLOSING[operator];
    if (closing !== undefined) brackets.push(closing);
    else if (
      (operator === ")" || operator === "]" || operator === "}") &&
      brackets.pop() !== operator
    ) {
      throw this.#error(`unexpected "${operator}"`);
    }
    return this.#push("operator", operator);
  }

  #push(type: Token["type"], text: string, value: Value = text): number {
    if (type !== "data" || text !== "") {
      for (; this.#lineAt < this.#at; this.#lineAt++) {
        if (this.#source[this.#lineAt] === "\n") this.#line++;
      }
      this.#tokens.push({ type, text, value, line: this.#line });
    }
    return text.length;
  }

  #error(what: string): TemplateSyntaxError {
    const line = this.#source.slice(0, this.#at).split("\n").length;
    return new TemplateSyntaxError(`${what} in line ${line}`);
  }

  /** A string's escapes, as Python's. */
  #unescaped(text: string): string {
    if (!text.includes("\\")) return text;
    // Jinja2 writes all beyond ASCII as escapes before it reads them, even behind a backslash.
    const ascii = text.replace(/[^\0-\x7f]/gu, (character) =>
      codeEscape(character.codePointAt(0)!),
    );
    return ascii.replace(ESCAPE, (whole, octal, hex, short, long, other) => {
      if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8));
      const code = hex ?? short ?? long;
      if (code !== undefined) {
        const point = Number.parseInt(code, 16);
        if (point > 0x10ffff) throw this.#error("a string has an escape beyond Unicode");
        return String.fromCodePoint(point);
      }
      if (other === "N") throw new UnsupportedError("names");
      if ("xuU".includes(other)) throw this.#error("a string has an incomplete escape");
      return ESCAPES[other] ?? whole;
    });
  }
}

const ESCAPE = /\\(?:([0-7]{1,3})|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([\s\S]))/g;
const ESCAPES: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

function intOf(text: string): Int {
  return shrink(BigInt(text.replaceAll("_", "")));
}
