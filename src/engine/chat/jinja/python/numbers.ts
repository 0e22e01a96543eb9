// Python's numbers: whole ones without bounds, fractions as IEEE doubles, and both as texts.

import { TemplateRuntimeError } from "../errors.ts";
import { Float, type Int } from "./values.ts";

/** Python refuses to write or read more digits. */
export const MAX_DIGITS = 4300;

export function shrink(value: bigint): Int {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

export function isInt(value: unknown): value is Int {
  return typeof value === "number" || typeof value === "bigint";
}

export function toFloat(value: Int | Float): number {
  if (value instanceof Float) return value.value;
  const number = Number(value);
  if (Number.isFinite(number)) return number;
  throw new TemplateRuntimeError("a whole number is too large for a float");
}

/** The whole part of a float. */
export function truncated(value: number): Int {
  if (!Number.isFinite(value)) {
    throw new TemplateRuntimeError(`${floatText(value)} has no whole part`);
  }
  const whole = Math.trunc(value) + 0;
  return Number.isSafeInteger(whole) ? whole : BigInt(whole);
}

export function intText(value: Int): string {
  const text = String(value);
  if (text.length <= MAX_DIGITS) return text;
  throw new TemplateRuntimeError(`a number has more than ${MAX_DIGITS} digits`);
}

/** As `repr` writes it: the shortest digits that are read as the same number. */
export function floatText(value: number): string {
  if (!Number.isFinite(value)) return nonFinite(value);
  if (Object.is(value, -0)) return "-0.0";
  const [digits = "", exponent = ""] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power < -4 || power >= 16) return `${digits}e${exponentText(power)}`;
  const text =
    power < 0 ? value.toFixed(digits.replace(/[-.]/g, "").length - 1 - power) : String(value);
  return text.includes(".") ? text : `${text}.0`;
}

function nonFinite(value: number): string {
  return Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf";
}

function exponentText(power: number): string {
  return `${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** |value| · 10^digits as a whole number, exact ties to the even one. */
function scaled(value: number, digits: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, Math.abs(value));
  const bits = view.getBigUint64(0);
  const exponent = Number(bits >> 52n);
  const fraction = bits & ((1n << 52n) - 1n);
  const power = Math.max(1, exponent) - 1075;
  let top = exponent === 0 ? fraction : fraction | (1n << 52n);
  let bottom = 1n;
  if (power > 0) top <<= BigInt(power);
  else bottom <<= BigInt(-power);
  if (digits > 0) top *= 10n ** BigInt(digits);
  else bottom *= 10n ** BigInt(-digits);
  const quotient = top / bottom;
  const twice = 2n * (top % bottom);
  const isUp = twice > bottom || (twice === bottom && quotient % 2n === 1n);
  return isUp ? quotient + 1n : quotient;
}

const isNegative = (value: number) => value < 0 || Object.is(value, -0);

/** `%.{digits}f`. */
export function fixed(value: number, digits: number): string {
  if (!Number.isFinite(value)) return nonFinite(value);
  const text = String(scaled(value, digits)).padStart(digits + 1, "0");
  const point = text.length - digits;
  const sign = isNegative(value) ? "-" : "";
  return sign + text.slice(0, point) + (digits > 0 ? `.${text.slice(point)}` : "");
}

function exponentOf(value: number, digits: number): { power: number; text: string } {
  if (value === 0) return { power: 0, text: "0".repeat(digits + 1) };
  let power = Number(value.toExponential().split("e")[1]);
  let text = String(scaled(value, digits - power));
  if (text.length > digits + 1) text = String(scaled(value, digits - ++power));
  return { power, text };
}

/** `%.{digits}e`. */
export function exponential(value: number, digits: number): string {
  if (!Number.isFinite(value)) return nonFinite(value);
  const { power, text } = exponentOf(value, digits);
  const fraction = digits > 0 ? `.${text.slice(1)}` : "";
  return `${isNegative(value) ? "-" : ""}${text[0]}${fraction}e${exponentText(power)}`;
}

/** `%.{digits}g`. `above`: the power from which on it is written with an exponent. */
export function general(value: number, digits: number, keepZeros = false, above = digits): string {
  if (!Number.isFinite(value)) return nonFinite(value);
  const { power } = exponentOf(value, digits - 1);
  const hasExponent = power < -4 || power >= above;
  const text = hasExponent ? exponential(value, digits - 1) : fixed(value, digits - 1 - power);
  if (keepZeros || !text.includes(".")) return text;
  const [number = "", exponent] = text.split("e");
  const short = number.replace(/\.?0+$/, "");
  return exponent === undefined ? short : `${short}e${exponent}`;
}

/** `round(value, digits)`. */
export function rounded(value: number, digits: number): number {
  if (!Number.isFinite(value) || digits > 330) return value;
  if (digits < -330) return isNegative(value) ? -0 : 0;
  if (digits >= 0) return Number(fixed(value, digits));
  const size = Number(scaled(value, digits) * 10n ** BigInt(-digits));
  return isNegative(value) ? -size : size;
}

export function roundedInt(value: Int, digits: number): Int {
  if (digits >= 0) return value;
  if (digits < -MAX_DIGITS) return 0;
  const unit = 10n ** BigInt(-digits);
  const size = BigInt(value) < 0n ? -BigInt(value) : BigInt(value);
  const quotient = size / unit;
  const twice = 2n * (size % unit);
  const isUp = twice > unit || (twice === unit && quotient % 2n === 1n);
  const result = (isUp ? quotient + 1n : quotient) * unit;
  return shrink(BigInt(value) < 0n ? -result : result);
}

/** `int(text, base)`; undefined if the text is not a number. */
export function readInt(text: string, base: number): Int | undefined {
  const match = /^([+-]?)(0[box])?(_?[0-9a-z]+(?:_[0-9a-z]+)*)$/i.exec(text);
  if (!match) return undefined;
  const [, sign, prefix, rest = ""] = match;
  const named = { b: 2, o: 8, x: 16 }[prefix?.[1]?.toLowerCase() ?? ""];
  let digits = rest.replaceAll("_", "");
  if (named && (base === 0 || base === named)) base = named;
  else if (prefix) digits = prefix + digits;
  else if (rest.startsWith("_")) return undefined;
  if (base === 0) {
    if (/^0+[1-9]/.test(digits)) return undefined;
    base = 10;
  }
  // Only bases that are not powers of two have a limit.
  if (digits.length > MAX_DIGITS && (base & (base - 1)) !== 0) return undefined;
  let result = 0n;
  if (base === 10) {
    if (!/^\d+$/.test(digits)) return undefined;
    result = BigInt(digits);
  } else {
    for (const digit of digits.toLowerCase()) {
      const value = "0123456789abcdefghijklmnopqrstuvwxyz".indexOf(digit);
      if (value >= base) return undefined;
      result = result * BigInt(base) + BigInt(value);
    }
  }
  return shrink(sign === "-" ? -result : result);
}

/** `float(text)`; undefined if the text is not a number. */
export function readFloat(text: string): number | undefined {
  const named = /^([+-]?)(inf(?:inity)?|nan)$/i.exec(text);
  if (named) {
    const size = named[2]!.toLowerCase() === "nan" ? Number.NaN : Number.POSITIVE_INFINITY;
    return named[1] === "-" ? -size : size;
  }
  const digits = "\\d+(?:_\\d+)*";
  const number = new RegExp(
    `^[+-]?(?:${digits}\\.?(?:${digits})?|\\.${digits})(?:e[+-]?${digits})?$`,
    "i",
  );
  return number.test(text) ? Number(text.replaceAll("_", "")) : undefined;
}

/** `//` and `%` of floats. */
export function divided(a: number, b: number): { quotient: number; remainder: number } {
  if (b === 0) throw new TemplateRuntimeError("float division by zero");
  let remainder = a % b;
  let quotient = (a - remainder) / b;
  if (remainder === 0) remainder = isNegative(b) ? -0 : 0;
  else if (b < 0 !== remainder < 0) {
    remainder += b;
    quotient--;
  }
  if (quotient === 0) return { quotient: isNegative(a / b) ? -0 : 0, remainder };
  const floor = Math.floor(quotient);
  return { quotient: quotient - floor > 0.5 ? floor + 1 : floor, remainder };
}
