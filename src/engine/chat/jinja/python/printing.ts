// Values as texts: Python's `str`, `repr` and `json.dumps`.

import { DEEPEST_VALUE, TemplateLimitError } from "../../limits.ts";
import { TemplateRuntimeError, UnsupportedError } from "../errors.ts";
import type { Meter } from "../meter.ts";
import { compare } from "./comparing.ts";
import { floatText, intText } from "./numbers.ts";
import {
  asText,
  Dict,
  Float,
  List,
  Markup,
  Namespace,
  Range,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.ts";

/** `str(value)`. */
export function textOf(value: Value, meter: Meter): string {
  if (typeof value === "string") return value;
  if (value instanceof Markup) return value.text;
  if (value instanceof Undefined) return "";
  return reprOf(value, meter);
}

/** `repr(value)`. */
export function reprOf(value: Value, meter: Meter): string {
  const writer = new Writer(meter);
  writer.repr(value);
  return writer.text;
}

/** Parts of a text whose length and depth are bounded. */
class Writer {
  readonly #meter: Meter;
  readonly #open = new Set<Value>();
  text = "";

  constructor(meter: Meter) {
    this.#meter = meter;
  }

  write(part: string): void {
    this.text += part;
    this.#meter.checkSize(this.text.length);
  }

  /** What a list or a mapping writes; each is a step, and is within others at a bounded depth. */
  nest(value: Value, write: () => void): void {
    this.#meter.step(1);
    if (this.#open.size >= DEEPEST_VALUE) {
      throw new TemplateLimitError("nesting", `a value goes deeper than ${DEEPEST_VALUE} levels`);
    }
    this.#open.add(value);
    write();
    this.#open.delete(value);
  }

  repr(value: Value): void {
    if (value === null) this.write("None");
    else if (typeof value === "boolean") this.write(value ? "True" : "False");
    else if (typeof value === "number" || typeof value === "bigint") this.write(intText(value));
    else if (typeof value === "string") this.write(quoted(value));
    else if (value instanceof Float) this.write(floatText(value.value));
    else if (value instanceof Markup) this.write(`Markup(${quoted(value.text)})`);
    else if (value instanceof Undefined) this.write("Undefined");
    else if (value instanceof Range) {
      const { start, stop, step } = value;
      this.write(`range(${start}, ${stop}${step === 1 ? "" : `, ${step}`})`);
    } else this.nest(value, () => this.#reprNested(value));
  }

  #reprNested(value: Value): void {
    if (value instanceof List) {
      this.#items("[", value.items, "]");
    } else if (value instanceof Tuple) {
      this.#items("(", value.items, value.items.length === 1 ? ",)" : ")");
    } else if (value instanceof Dict) {
      this.#entries(value);
    } else if (value instanceof View) {
      this.#items(`dict_${value.kind}([`, value, "])");
    } else if (value instanceof Namespace) {
      this.write("<Namespace ");
      if (this.#isOpen(value.attributes)) this.write("{...}");
      else this.nest(value.attributes, () => this.#entries(value.attributes));
      this.write(">");
    } else {
      const printed = value instanceof Object && "printed" in value ? value.printed : undefined;
      if (printed === undefined) throw new UnsupportedError("address");
      this.write(printed);
    }
  }

  #isOpen(value: Value): boolean {
    return this.#open.has(value);
  }

  #items(open: string, items: Iterable<Value>, close: string): void {
    this.write(open);
    let isFirst = true;
    for (const item of items) {
      if (!isFirst) this.write(", ");
      isFirst = false;
      this.repr(item);
    }
    this.write(close);
  }

  #entries(dict: Dict): void {
    this.write("{");
    let isFirst = true;
    for (const [key, value] of dict.entries()) {
      if (!isFirst) this.write(", ");
      isFirst = false;
      this.repr(key);
      this.write(": ");
      this.repr(value);
    }
    this.write("}");
  }

  json(value: Value, options: JsonOptions, level: number): void {
    const text = asText(value);
    if (text !== undefined) this.write(jsonText(text, options.ensureAscii));
    else if (value === null) this.write("null");
    else if (value instanceof List || value instanceof Tuple) {
      const { items } = value;
      this.nest(value, () =>
        this.#jsonParts("[", items, "]", options, level, (item) => {
          this.json(item, options, level + 1);
        }),
      );
    } else if (value instanceof Dict) {
      let entries = [...value.entries()];
      if (options.sortKeys) entries = entries.sort(([a], [b]) => compare(a, b, this.#meter, "<"));
      this.nest(value, () =>
        this.#jsonParts("{", entries, "}", options, level, ([key, item]) => {
          this.write(jsonText(keyText(key), options.ensureAscii));
          this.write(options.colon);
          this.json(item, options, level + 1);
        }),
      );
    } else this.write(jsonScalar(value));
  }

  #jsonParts<Part>(
    open: string,
    parts: readonly Part[],
    close: string,
    { indent, comma }: JsonOptions,
    level: number,
    write: (part: Part) => void,
  ): void {
    this.write(open);
    if (parts.length > 0) {
      const startLine = (depth: number) => {
        if (indent === undefined) return;
        this.#meter.checkSize(indent.length * depth);
        this.write(`\n${indent.repeat(depth)}`);
      };
      parts.forEach((part, i) => {
        if (i > 0) this.write(comma);
        startLine(level + 1);
        write(part);
      });
      startLine(level);
    }
    this.write(close);
  }
}

interface JsonOptions {
  readonly ensureAscii: boolean;
  /** Undefined: all on one line. */
  readonly indent: string | undefined;
  readonly comma: string;
  readonly colon: string;
  readonly sortKeys: boolean;
}

/** `json.dumps(value)`. */
export function jsonOf(value: Value, options: JsonOptions, meter: Meter): string {
  const writer = new Writer(meter);
  writer.json(value, options, 0);
  return writer.text;
}

function jsonScalar(value: Value): string {
  if (typeof value === "boolean") return String(value);
  if (typeof value === "number" || typeof value === "bigint") return intText(value);
  if (!(value instanceof Float)) {
    throw new TemplateRuntimeError(`a ${typeName(value)} cannot be written as JSON`);
  }
  if (Number.isNaN(value.value)) return "NaN";
  if (Number.isFinite(value.value)) return floatText(value.value);
  return value.value < 0 ? "-Infinity" : "Infinity";
}

function keyText(key: Value): string {
  const text = asText(key);
  if (text !== undefined) return text;
  return key === null ? "null" : jsonScalar(key);
}

const JSON_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\f": "\\f",
  "\b": "\\b",
};

const CONTROLS = "\\x00-\\x1f";
const JSON_SPECIAL = new RegExp(`["\\\\${CONTROLS}]`, "g");

function jsonText(text: string, ensureAscii: boolean): string {
  // Unit by unit, as JSON has it: beyond U+FFFF a pair of escapes.
  const special = ensureAscii ? /["\\]|[^ -~]/g : JSON_SPECIAL;
  const escaped = text.replace(
    special,
    (unit) => JSON_ESCAPES[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `"${escaped}"`;
}

const ESCAPES: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** A text as Python's source has it. */
export function quoted(text: string, asciiOnly = false): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const special = asciiOnly ? /[\\'"]|[^ -~]/gu : /[\\'"]|[\p{C}\p{Z}]/gu;
  const escaped = text.replace(special, (character) => {
    if (character === " ") return character;
    if (character === "\\" || character === quote) return `\\${character}`;
    if (character === "'" || character === '"') return character;
    return ESCAPES[character] ?? codeEscape(character.codePointAt(0)!);
  });
  return quote + escaped + quote;
}

export function codeEscape(code: number): string {
  const hex = (length: number) => code.toString(16).padStart(length, "0");
  if (code < 0x100) return `\\x${hex(2)}`;
  return code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}
