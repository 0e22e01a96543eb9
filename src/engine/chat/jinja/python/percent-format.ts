// `"%s and %d" % values`: Python's printf-style formatting.

import { TemplateRuntimeError } from "../errors.ts";
import type { Meter } from "../meter.ts";
import { intOf, wholeOf } from "./arguments.ts";
import { exponential, fixed, general, intText, isInt, toFloat } from "./numbers.ts";
import { quoted, reprOf, textOf } from "./printing.ts";
import { between, lengthOf } from "./texts.ts";
import {
  asNumber,
  asText,
  Dict,
  Float,
  List,
  Markup,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

const DIRECTIVE =
  /%(?:\(((?:[^()]|\([^()]*\))*)\))?([-#0 +]*)(\*|\d+)?(?:\.(\*|\d*))?[hlL]?([\s\S]?)/gu;

/** `escapeText`: for what is put into markup. */
export function formatPercent(
  format: string,
  values: Value,
  meter: Meter,
  escapeText: (text: string) => string = (text) => text,
): string {
  const isTuple = values instanceof Tuple;
  const items = isTuple ? values.items : [values];
  let used = 0;
  let size = 0;
  const next = (): Value => {
    if (used < items.length) return items[used++]!;
    throw new TemplateRuntimeError("not enough values for a format");
  };
  const result = format.replace(DIRECTIVE, (_, key, flags, width, precision, kind) => {
    let value: Value | undefined;
    if (key !== undefined) {
      if (!(values instanceof Dict)) throw new TemplateRuntimeError("a format needs a mapping");
      value = values.get(key);
      if (value === undefined) throw new TemplateRuntimeError(`a format finds no key "${key}"`);
      used = items.length;
    }
    let least = width === "*" ? intOf(next(), "a width") : Number(width ?? 0);
    const isLeft = flags.includes("-") || least < 0;
    least = Math.abs(least);
    let digits: number | undefined;
    if (precision !== undefined) {
      digits = Math.max(0, precision === "*" ? intOf(next(), "a precision") : Number(precision));
    }
    meter.checkSize(least + (digits ?? 0));
    if (kind === "%") return "%";
    if (kind === "") throw new TemplateRuntimeError("a format is incomplete");
    if (value === undefined) value = next();
    const [sign, body] = converted(value, kind, flags, digits, meter, escapeText);
    const missing = Math.max(0, least - lengthOf(sign + body));
    const isNumber = !"sarc".includes(kind);
    const text = isLeft
      ? sign + body + " ".repeat(missing)
      : isNumber && flags.includes("0") && /\d/.test(body)
        ? sign + "0".repeat(missing) + body
        : " ".repeat(missing) + sign + body;
    size += text.length;
    meter.checkSize(size);
    return text;
  });
  // A mapping and, since it has keys too, a list may have more than is used.
  const mayRemain = values instanceof Dict || values instanceof List || values instanceof Undefined;
  if (used < items.length && !mayRemain) {
    throw new TemplateRuntimeError("a format does not use all of its values");
  }
  return result;
}

/** Sign, with the prefix of a base, and what follows. */
function converted(
  value: Value,
  kind: string,
  flags: string,
  digits: number | undefined,
  meter: Meter,
  escapeText: (text: string) => string,
): [sign: string, body: string] {
  const signed = (text: string, prefix = ""): [string, string] => {
    const isNegative = text.startsWith("-");
    const sign = isNegative ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
    return [sign + prefix, isNegative ? text.slice(1) : text];
  };
  switch (kind) {
    case "s":
    case "r":
    case "a": {
      const plain =
        kind === "s"
          ? textOf(value, meter)
          : kind === "a" && asText(value) !== undefined
            ? quoted(asText(value)!, true)
            : reprOf(value, meter);
      const text = value instanceof Markup && kind === "s" ? plain : escapeText(plain);
      return ["", digits === undefined ? text : between(text, 0, Math.min(digits, lengthOf(text)))];
    }
    case "c": {
      const text = asText(value);
      if (text !== undefined && lengthOf(text) === 1) return ["", text];
      const number = asNumber(value);
      if (text === undefined && number !== undefined && isInt(number)) {
        if (number >= 0 && number <= 0x10ffff) return ["", String.fromCodePoint(Number(number))];
      }
      throw new TemplateRuntimeError("%c needs a character or its number");
    }
    case "d":
    case "i":
    case "u": {
      const [sign, body] = signed(intText(wholeOf(value, `%${kind}`)));
      return [sign, body.padStart(digits ?? 0, "0")];
    }
    case "o":
    case "x":
    case "X": {
      const number = asNumber(value);
      if (number === undefined || !isInt(number)) {
        throw new TemplateRuntimeError(`%${kind} needs a whole number, not a ${typeName(value)}`);
      }
      const text = number.toString(kind === "o" ? 8 : 16);
      const cased = kind === "X" ? text.toUpperCase() : text;
      const [sign, body] = signed(cased, flags.includes("#") ? `0${kind}` : "");
      return [sign, body.padStart(digits ?? 0, "0")];
    }
    case "e":
    case "E":
    case "f":
    case "F":
    case "g":
    case "G": {
      const number = asNumber(value);
      if (number === undefined) {
        throw new TemplateRuntimeError(`%${kind} needs a number, not a ${typeName(value)}`);
      }
      const float = number instanceof Float ? number.value : toFloat(number);
      const text = floatAs(float, kind, digits, flags.includes("#"));
      return signed(kind === kind.toUpperCase() ? text.toUpperCase() : text);
    }
    default:
      throw new TemplateRuntimeError(`a format knows no "%${kind}"`);
  }
}

function floatAs(value: number, kind: string, digits = 6, isAlternate = false): string {
  const lower = kind.toLowerCase();
  if (lower === "g") return general(value, digits || 1, isAlternate);
  const text = lower === "f" ? fixed(value, digits) : exponential(value, digits);
  if (!isAlternate || digits > 0) return text;
  return text.includes("e") ? text.replace("e", ".e") : `${text}.`;
}
