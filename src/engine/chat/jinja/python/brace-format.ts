// `"{} and {name:>8}".format(…)`: Python's format strings, and `format(value, spec)`.

import { TemplateRuntimeError } from "../errors.ts";
import type { Meter } from "../meter.ts";
import { exponential, fixed, floatText, general, isInt, toFloat } from "./numbers.ts";
import { quoted, reprOf, textOf } from "./printing.ts";
import { between, lengthOf } from "./texts.ts";
import { asNumber, asText, Float, type Keywords, Markup, typeName, type Value } from "./values.ts";

interface FormatArguments {
  readonly args: readonly Value[];
  readonly keywords: Keywords;
  /** `object.name` and `object[key]` in a field. */
  readonly attributeOf: (object: Value, name: string) => Value;
  readonly itemOf: (object: Value, key: Value) => Value;
  readonly escape: ((text: string) => string) | undefined;
}

export function formatBraces(format: string, values: FormatArguments, meter: Meter): string {
  const numbering = { next: 0, isAutomatic: undefined as boolean | undefined };
  return expand(format, values, meter, numbering, 2);
}

function expand(
  format: string,
  values: FormatArguments,
  meter: Meter,
  numbering: { next: number; isAutomatic: boolean | undefined },
  depth: number,
): string {
  if (depth < 0) throw new TemplateRuntimeError("a format has fields within fields within fields");
  let text = "";
  let at = 0;
  while (at < format.length) {
    const character = format[at++]!;
    if (character !== "{" && character !== "}") {
      text += character;
      continue;
    }
    if (format[at] === character) {
      text += character;
      at++;
      continue;
    }
    if (character === "}") throw new TemplateRuntimeError('a format has a single "}"');
    const end = endOfField(format, at);
    text += field(format.slice(at, end), values, meter, numbering, depth);
    meter.checkSize(text.length);
    at = end + 1;
  }
  return text;
}

/** Where the brace is that closes a field. */
function endOfField(format: string, from: number): number {
  let open = 1;
  for (let at = from; at < format.length; at++) {
    if (format[at] === "[") {
      // A key may hold braces.
      const close = format.indexOf("]", at);
      if (close > 0 && !format.slice(from, at).includes(":")) at = close;
    } else if (format[at] === "{") open++;
    else if (format[at] === "}" && --open === 0) return at;
  }
  throw new TemplateRuntimeError('a format has a "{" without its "}"');
}

function field(
  source: string,
  values: FormatArguments,
  meter: Meter,
  numbering: { next: number; isAutomatic: boolean | undefined },
  depth: number,
): string {
  const match = /^((?:[^![:]|\[[^\]]*\])*)(?:!(.?))?(?::([\s\S]*))?$/u.exec(source);
  if (!match) throw new TemplateRuntimeError(`a format has a field "${source}"`);
  const [, path = "", conversion, spec = ""] = match;
  const [, first = "", rest = ""] = /^([^.[]*)([\s\S]*)$/.exec(path)!;
  let value = argument(first, values, numbering);
  const parts = /\.([^.[]+)|\[([^\]]+)\]/gy;
  for (let at = 0; at < rest.length; at = parts.lastIndex) {
    parts.lastIndex = at;
    const part = parts.exec(rest);
    if (!part) throw new TemplateRuntimeError(`a format has a field "${source}"`);
    const [, name, key = ""] = part;
    if (name !== undefined) value = values.attributeOf(value, name);
    else value = values.itemOf(value, /^\d+$/.test(key) ? Number(key) : key);
  }
  if (conversion === "s") value = textOf(value, meter);
  else if (conversion === "r") value = reprOf(value, meter);
  else if (conversion === "a")
    value = asText(value) === undefined ? reprOf(value, meter) : quoted(asText(value)!, true);
  else if (conversion !== undefined) {
    throw new TemplateRuntimeError(`a format knows no conversion "!${conversion}"`);
  }
  const formatted = formatValue(value, expand(spec, values, meter, numbering, depth - 1), meter);
  return values.escape && !(value instanceof Markup) ? values.escape(formatted) : formatted;
}

function argument(
  name: string,
  { args, keywords }: FormatArguments,
  numbering: { next: number; isAutomatic: boolean | undefined },
): Value {
  const isAutomatic = name === "";
  let value: Value | undefined;
  if (isAutomatic || /^\d+$/.test(name)) {
    if (numbering.isAutomatic === !isAutomatic) {
      throw new TemplateRuntimeError("a format numbers its fields and does not");
    }
    numbering.isAutomatic = isAutomatic;
    value = args[isAutomatic ? numbering.next++ : Number(name)];
  } else value = keywords.get(name);
  if (value !== undefined) return value;
  throw new TemplateRuntimeError(`a format has no value for "{${name}}"`);
}

const SPEC =
  /^(?:([\s\S])?([<>=^]))?([-+ ])?(z)?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([bcdeEfFgGnosxX%])?$/u;

/** `format(value, spec)`. */
function formatValue(value: Value, spec: string, meter: Meter): string {
  if (spec === "") return textOf(value, meter);
  const match = SPEC.exec(spec);
  const number = asNumber(value);
  const text = asText(value);
  if (!match || (number === undefined && text === undefined)) {
    throw new TemplateRuntimeError(`"${spec}" is no format of a ${typeName(value)}`);
  }
  const [, filled, aligned, sign, , alternate, zero, width, grouping, precision, kind] = match;
  const least = Number(width ?? 0);
  meter.checkSize(least + Number(precision ?? 0));
  const fill = filled ?? (zero && !aligned ? "0" : " ");
  const digits = precision === undefined ? undefined : Number(precision);
  const refuse = (): never => {
    throw new TemplateRuntimeError(`"${spec}" is no format of a ${typeName(value)}`);
  };

  if (text !== undefined) {
    if ((kind ?? "s") !== "s" || sign || alternate || grouping || aligned === "=") refuse();
    const cut = between(text, 0, Math.min(digits ?? lengthOf(text), lengthOf(text)));
    return align(cut, "", least, fill, aligned ?? "<");
  }
  let body: string;
  let prefix = "";
  const isWhole = isInt(number!) && !/^[eEfFgG%]$/.test(kind ?? "d");
  if (isWhole) {
    if (digits !== undefined || kind === "s") refuse();
    const base = { b: 2, o: 8, x: 16, X: 16 }[kind ?? "d"];
    if (kind === "c") {
      if (sign) refuse();
      return align(String.fromCodePoint(Number(number)), "", least, fill, aligned ?? "<");
    }
    body = (number as number | bigint).toString(base ?? 10);
    if (base && alternate) prefix = `0${kind}`;
    if (kind === "X") body = body.toUpperCase();
    if (grouping === "," && base) refuse();
    if (grouping) body = grouped(body, grouping, base ? 4 : 3);
  } else {
    if (kind && !/[eEfFgGn%]/.test(kind)) refuse();
    const float = number instanceof Float ? number.value : toFloat(number as number);
    body = floatBody(float, kind, digits, alternate !== undefined);
    if (grouping) body = grouped(body, grouping, 3);
  }
  const isNegative = body.startsWith("-");
  const mark = isNegative ? "-" : sign === "+" || sign === " " ? sign : "";
  const bare = isNegative ? body.slice(1) : body;
  const how = aligned ?? (zero ? "=" : ">");
  if (how === "=" && fill === "0" && grouping) {
    return mark + prefix + groupedZeros(bare, least - mark.length - prefix.length, grouping, 3);
  }
  return align(bare, mark + prefix, least, fill, how);
}

function floatBody(
  value: number,
  kind: string | undefined,
  digits: number | undefined,
  alternate: boolean,
) {
  switch (kind) {
    case undefined: {
      if (digits === undefined) return floatText(value);
      const text = general(value, digits || 1, alternate, Math.max(1, digits - 1));
      return /[.en]/.test(text) ? text : `${text}.0`;
    }
    case "%":
      return `${fixed(value * 100, digits ?? 6)}%`;
    case "f":
    case "F":
      return kind === "F" ? fixed(value, digits ?? 6).toUpperCase() : fixed(value, digits ?? 6);
    case "e":
    case "E": {
      const text = exponential(value, digits ?? 6);
      return kind === "E" ? text.toUpperCase() : text;
    }
    default: {
      const text = general(value, (digits ?? 6) || 1, alternate);
      return kind === "G" ? text.toUpperCase() : text;
    }
  }
}

/** The whole part in groups. */
function grouped(text: string, by: string, size: number): string {
  const [, sign = "", whole = "", rest = ""] = /^(-?)([0-9a-fA-F]*)([\s\S]*)$/.exec(text)!;
  return sign + whole.replace(new RegExp(`\\B(?=(.{${size}})+$)`, "g"), by) + rest;
}

/** Zeros in front are grouped with the others. */
function groupedZeros(text: string, least: number, by: string, size: number): string {
  const [, whole = "", rest = ""] = /^([\d,_]*)([\s\S]*)$/.exec(text)!;
  let digits = whole.replaceAll(by, "");
  while (grouped(digits, by, size).length + rest.length < least) digits = `0${digits}`;
  return grouped(digits, by, size) + rest;
}

function align(body: string, prefix: string, least: number, fill: string, how: string): string {
  const missing = Math.max(0, least - lengthOf(prefix) - lengthOf(body));
  if (how === "=") return prefix + fill.repeat(missing) + body;
  if (how === "<") return prefix + body + fill.repeat(missing);
  const left = how === "^" ? Math.floor(missing / 2) : missing;
  return fill.repeat(left) + prefix + body + fill.repeat(missing - left);
}
