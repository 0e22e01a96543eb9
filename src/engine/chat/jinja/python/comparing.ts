// Python's comparisons. What they look at is counted, since lists may share their items many times
// over.

import { DEEPEST_VALUE, TemplateLimitError } from "../../limits.ts";
import { TemplateRuntimeError } from "../errors.ts";
import type { Meter } from "../meter.ts";
import { compareTexts } from "./texts.ts";
import {
  asNumber,
  asText,
  Dict,
  Float,
  itemsOf,
  List,
  Range,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.ts";

const plain = (number: number | bigint | Float) =>
  number instanceof Float ? number.value : number;

/** `a == b`. */
export function isEqual(a: Value, b: Value, meter: Meter, depth = 0): boolean {
  meter.step(1);
  if (depth > DEEPEST_VALUE) {
    throw new TemplateLimitError("nesting", `a value goes deeper than ${DEEPEST_VALUE} levels`);
  }
  const [left, right] = [asText(a), asText(b)];
  if (left !== undefined || right !== undefined) {
    meter.scan(Math.min(left?.length ?? 0, right?.length ?? 0));
    return left === right;
  }
  const [number, other] = [asNumber(a), asNumber(b)];
  if (number !== undefined && other !== undefined) {
    const [x, y] = [plain(number), plain(other)];
    // `===` takes a bigint and a number for different.
    return typeof x === typeof y ? x === y : x <= y && x >= y;
  }
  // NaN within a list is the same as itself.
  const isSame = (x: Value, y: Value) =>
    (x === y && x !== null && typeof x === "object") || isEqual(x, y, meter, depth + 1);
  const isList = a instanceof List && b instanceof List;
  if (isList || (a instanceof Tuple && b instanceof Tuple)) {
    const others = (b as List | Tuple).items;
    return a.items.length === others.length && a.items.every((item, i) => isSame(item, others[i]!));
  }
  if (a instanceof Dict && b instanceof Dict) {
    if (a.size !== b.size) return false;
    return [...a.entries()].every(([key, item]) => b.has(key) && isSame(item, b.get(key)!));
  }
  if (a instanceof Range && b instanceof Range) {
    const { length } = a;
    if (length !== b.length) return false;
    return length === 0 || (a.start === b.start && (length === 1 || a.step === b.step));
  }
  if (a instanceof View && b instanceof View && a.kind !== "values" && b.kind !== "values") {
    return a.dict.size === b.dict.size && [...a].every((item) => contains(b, item, meter));
  }
  return a === b || (a instanceof Undefined && b instanceof Undefined);
}

export type Order = "<" | "<=" | ">" | ">=";

/**
 * Negative, zero or positive; NaN if no order holds, as with NaN. Throws if Python defines no
 * order.
 */
export function compare(a: Value, b: Value, meter: Meter, order: Order): number {
  meter.step(1);
  const [left, right] = [asText(a), asText(b)];
  if (left !== undefined && right !== undefined) {
    meter.scan(Math.min(left.length, right.length));
    return compareTexts(left, right);
  }
  const [number, other] = [asNumber(a), asNumber(b)];
  if (number !== undefined && other !== undefined) {
    const [x, y] = [plain(number), plain(other)];
    return x < y ? -1 : x > y ? 1 : x <= y ? 0 : Number.NaN;
  }
  const isList = a instanceof List && b instanceof List;
  if (isList || (a instanceof Tuple && b instanceof Tuple)) {
    const others = (b as List | Tuple).items;
    meter.enter();
    const at = a.items.findIndex(
      (item, i) => i >= others.length || !isEqual(item, others[i]!, meter),
    );
    const result =
      at < 0 || at >= others.length
        ? a.items.length - others.length
        : compare(a.items[at]!, others[at]!, meter, order);
    meter.leave();
    return result;
  }
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  throw new TemplateRuntimeError(
    `"${order}" is not supported between ${typeName(a)} and ${typeName(b)}`,
  );
}

/** Whether an order holds. */
export function holds(order: Order, a: Value, b: Value, meter: Meter): boolean {
  const result = compare(a, b, meter, order);
  if (order === "<") return result < 0;
  if (order === "<=") return result <= 0;
  return order === ">" ? result > 0 : result >= 0;
}

/** `item in container`. */
export function contains(container: Value, item: Value, meter: Meter): boolean {
  const text = asText(container);
  if (text !== undefined) {
    const part = asText(item);
    if (part === undefined) {
      throw new TemplateRuntimeError(`"in" a text needs a text, not a ${typeName(item)}`);
    }
    meter.checkWork(text.length * part.length);
    meter.scan(text.length);
    return text.includes(part);
  }
  if (container instanceof Dict) return container.has(item);
  if (container instanceof View && container.kind === "keys") return container.dict.has(item);
  const items = itemsOf(container);
  if (items === undefined) {
    throw new TemplateRuntimeError(`a ${typeName(container)} has no items to look among`);
  }
  for (const other of items) if (other === item || isEqual(other, item, meter)) return true;
  return false;
}
