// Filters of numbers, and those that make one.

import { TemplateRuntimeError } from "../errors.ts";
import { isTrueOr, optionalInt } from "../python/arguments.ts";
import { operate } from "../python/arithmetic.ts";
import {
  fixed,
  isInt,
  readFloat,
  readInt,
  rounded,
  roundedInt,
  toFloat,
  truncated,
} from "../python/numbers.ts";
import { strip } from "../python/texts.ts";
import { asNumber, asText, Float, typeName, Undefined, type Value } from "../python/values.ts";
import type { Operation } from "../runtime.ts";

type Filter = Operation<Value>;

const UNITS = ["k", "M", "G", "T", "P", "E", "Z", "Y"];

function fileSize(bytes: number, isBinary: boolean): string {
  const base = isBinary ? 1024 : 1000;
  if (bytes === 1) return "1 Byte";
  if (bytes < base) return `${truncated(bytes)} Bytes`;
  const at = UNITS.findIndex((_, i) => bytes < base ** (i + 2));
  const power = at < 0 ? UNITS.length - 1 : at;
  const unit = UNITS[power]!;
  const size = fixed((base * bytes) / base ** (power + 2), 1);
  return `${size} ${isBinary ? `${unit.toUpperCase()}iB` : `${unit}B`}`;
}

/**
 * `int(value)` or `float(value)` of a value that is not a text; undefined if it is not a number.
 */
function numberOf(value: Value): number | bigint | Float | undefined {
  if (value instanceof Undefined) value.fail();
  return asNumber(value);
}

function toInt(value: Value, otherwise: Value, base: number): Value {
  const text = asText(value);
  if (text === undefined) {
    const number = numberOf(value);
    if (number === undefined) return otherwise;
    if (!(number instanceof Float)) return number;
    if (Number.isFinite(number.value)) return truncated(number.value);
    if (Number.isNaN(number.value)) return otherwise;
    throw new TemplateRuntimeError("an infinite float has no whole part");
  }
  const bare = strip(text);
  const whole = base === 0 || (base >= 2 && base <= 36) ? readInt(bare, base) : undefined;
  if (whole !== undefined) return whole;
  const float = readFloat(bare);
  return float !== undefined && Number.isFinite(float) ? truncated(float) : otherwise;
}

function toFloatOr(value: Value, otherwise: Value): Value {
  const text = asText(value);
  const number = text === undefined ? numberOf(value) : readFloat(strip(text));
  if (number === undefined) return otherwise;
  return number instanceof Float ? number : new Float(toFloat(number));
}

function round(value: Value, precision: number, method: string): Value {
  if (!["common", "ceil", "floor"].includes(method)) {
    throw new TemplateRuntimeError("round() knows the methods common, ceil and floor");
  }
  const number = asNumber(value);
  if (number === undefined || value instanceof Undefined) {
    throw new TemplateRuntimeError(`a ${typeName(value)} cannot be rounded`);
  }
  if (method === "common") {
    if (isInt(number)) return roundedInt(number, precision);
    return new Float(rounded(number.value, precision));
  }
  const factor = 10 ** precision;
  const scaled = toFloat(number) * factor;
  return new Float(
    Number(truncated(method === "ceil" ? Math.ceil(scaled) : Math.floor(scaled))) / factor,
  );
}

export const NUMBER_FILTERS: readonly (readonly [string, Filter])[] = [
  [
    "abs",
    {
      parameters: "",
      run: (value) => {
        const number = asNumber(value);
        if (number === undefined) {
          throw new TemplateRuntimeError(`a ${typeName(value)} has no absolute value`);
        }
        if (number instanceof Float) return new Float(Math.abs(number.value));
        return number < 0 ? (operate("-", 0, number, undefined as never) as Value) : number;
      },
    },
  ],
  [
    "filesizeformat",
    {
      parameters: "| binary",
      run: (value, [binary]) => {
        const bytes = toFloatOr(value, null);
        if (bytes === null) throw new TemplateRuntimeError("filesizeformat() needs a number");
        return fileSize((bytes as Float).value, isTrueOr(binary, false));
      },
    },
  ],
  [
    "float",
    {
      parameters: "| default",
      run: (value, [otherwise = new Float(0)]) => toFloatOr(value, otherwise),
    },
  ],
  [
    "int",
    {
      parameters: "| default base",
      run: (value, [otherwise = 0, base]) =>
        toInt(value, otherwise, optionalInt(base, 10, "a base")),
    },
  ],
  [
    "round",
    {
      parameters: "| precision method",
      run: (value, [precision, method = "common"]) =>
        round(value, optionalInt(precision, 0, "a precision"), asText(method) ?? ""),
    },
  ],
];
