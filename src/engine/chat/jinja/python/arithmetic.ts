// Python's operators: `+ - * / // % **`, of numbers, texts and lists.

import { ITEM_SIZE } from "../../limits.ts";
import { TemplateRuntimeError, UnsupportedError } from "../errors.ts";
import type { Meter } from "../meter.ts";
import type { BinaryOperator } from "../syntax/nodes.ts";
import { divided, isInt, shrink, toFloat } from "./numbers.ts";
import { formatPercent } from "./percent-format.ts";
import { escapeHtml } from "./texts.ts";
import {
  asNumber,
  asText,
  Float,
  type Int,
  List,
  Markup,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

export function operate(operator: BinaryOperator, a: Value, b: Value, meter: Meter): Value {
  const text = asText(a);
  if (operator === "%" && text !== undefined) {
    return a instanceof Markup
      ? new Markup(formatPercent(text, b, meter, escapeHtml))
      : formatPercent(text, b, meter);
  }
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  const [left, right] = [asNumber(a), asNumber(b)];
  if (left !== undefined && right !== undefined) {
    return isInt(left) && isInt(right)
      ? ofInts(operator, left, right, meter)
      : new Float(ofFloats(operator, toFloat(left), toFloat(right)));
  }
  const result =
    operator === "+" ? joined(a, b, meter) : operator === "*" ? repeated(a, b, meter) : undefined;
  if (result !== undefined) return result;
  throw new TemplateRuntimeError(
    `"${operator}" is not supported between ${typeName(a)} and ${typeName(b)}`,
  );
}

function joined(a: Value, b: Value, meter: Meter): Value | undefined {
  const [left, right] = [asText(a), asText(b)];
  if (left !== undefined && right !== undefined) {
    meter.checkSize(left.length + right.length);
    if (a instanceof Markup || b instanceof Markup) return new Markup(html(a) + html(b));
    return left + right;
  }
  const isList = a instanceof List && b instanceof List;
  if (!isList && !(a instanceof Tuple && b instanceof Tuple)) return undefined;
  const others = (b as List | Tuple).items;
  meter.checkSize(ITEM_SIZE * (a.items.length + others.length));
  const items = [...a.items, ...others];
  return isList ? new List(items) : new Tuple(items);
}

/** A text, escaped unless it is HTML. */
function html(text: Value): string {
  return text instanceof Markup ? text.text : escapeHtml(text as string);
}

function repeated(a: Value, b: Value, meter: Meter): Value | undefined {
  const [sequence, times] = asNumber(b) === undefined ? [b, a] : [a, b];
  const count = asNumber(times);
  if (count === undefined || !isInt(count)) return undefined;
  const most = Math.max(0, Number(count));
  const text = asText(sequence);
  if (text !== undefined) {
    meter.checkSize(text.length * most);
    const result = text.repeat(text === "" ? 0 : most);
    return sequence instanceof Markup ? new Markup(result) : result;
  }
  if (!(sequence instanceof List || sequence instanceof Tuple)) return undefined;
  const { items } = sequence;
  meter.checkSize(ITEM_SIZE * items.length * most);
  const all = Array.from({ length: items.length * most }, (_, i) => items[i % items.length]!);
  return sequence instanceof List ? new List(all) : new Tuple(all);
}

const bitsOf = (value: Int) => Math.log2(Math.abs(Number(value)) + 1);

function ofInts(operator: BinaryOperator, a: Int, b: Int, meter: Meter): Value {
  const whole = (fast: number, slow: (a: bigint, b: bigint) => bigint): Int => {
    const isSmall = typeof a === "number" && typeof b === "number" && Number.isSafeInteger(fast);
    // Integers have no -0: adding 0 removes it.
    return isSmall ? fast + 0 : shrink(slow(BigInt(a), BigInt(b)));
  };
  const [x, y] = [Number(a), Number(b)];
  switch (operator) {
    case "+":
      return whole(x + y, (p, q) => p + q);
    case "-":
      return whole(x - y, (p, q) => p - q);
    case "*":
      if (typeof a === "bigint" || typeof b === "bigint") checkDigits(a, b, meter);
      return whole(x * y, (p, q) => p * q);
    case "/":
      checkDivisor(y);
      return new Float(toFloat(a) / toFloat(b));
    case "//":
      checkDivisor(y);
      return whole(Math.floor(x / y), (p, q) => (p - (((p % q) + q) % q)) / q);
    case "%":
      checkDivisor(y);
      return whole(
        x % y !== 0 && x < 0 !== y < 0 ? (x % y) + y : x % y,
        (p, q) => ((p % q) + q) % q,
      );
    case "**":
      if (y < 0) return new Float(ofFloats("**", toFloat(a), toFloat(b)));
      meter.checkSize(bitsOf(a) * y);
      return whole(x ** y, (p, q) => p ** q);
  }
}

function checkDivisor(divisor: number): void {
  if (divisor === 0) throw new TemplateRuntimeError("division by zero");
}

function checkDigits(a: Int, b: Int, meter: Meter): void {
  meter.scan(String(a).length * String(b).length);
}

function ofFloats(operator: BinaryOperator, a: number, b: number): number {
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      checkDivisor(b);
      return a / b;
    case "//":
      return divided(a, b).quotient;
    case "%":
      return divided(a, b).remainder;
    case "**":
      return power(a, b);
  }
}

function power(a: number, b: number): number {
  if (a === 0 && b < 0) throw new TemplateRuntimeError("zero has no negative power");
  if (a === 1) return 1;
  if (a === -1 && !Number.isFinite(b) && !Number.isNaN(b)) return 1;
  if (a < 0 && Number.isFinite(a) && Number.isFinite(b) && !Number.isInteger(b)) {
    throw new UnsupportedError("complex");
  }
  const result = a ** b;
  if (!Number.isFinite(result) && Number.isFinite(a) && Number.isFinite(b)) {
    throw new TemplateRuntimeError("a power is too large for a float");
  }
  return result;
}

/** `-value` and `+value`. */
export function signed(operator: "+" | "-", value: Value): Value {
  if (value instanceof Undefined) value.fail();
  const number = asNumber(value);
  if (number === undefined) {
    throw new TemplateRuntimeError(`a ${typeName(value)} has no sign`);
  }
  if (operator === "+") return number;
  if (number instanceof Float) return new Float(-number.value);
  return typeof number === "bigint" ? shrink(-number) : 0 - number;
}
