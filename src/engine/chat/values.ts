// The values of @huggingface/jinja's interpreter, which it does not export.

import { Environment } from "@huggingface/jinja";
import { UserError } from "../../errors.ts";

/** A value of the interpreter's: a string, number, boolean, null, undefined, list, `Map` or function, in `value`. */
export interface Value {
  readonly type: string;
  value: unknown;
  /** The methods of a string. */
  readonly builtins: ReadonlyMap<string, Value>;
  toString(): string;
}

/** The interpreter does not export its values, but makes them of JavaScript's. */
export function valueMade(content: string | boolean): Value {
  return new Environment().set("value", content);
}

export const TRUE = valueMade(true);
export const FALSE = valueMade(false);

/** Characters of a string, items of a list or a mapping. */
export function itemsOf({ value }: Value): number {
  if (typeof value === "string" || Array.isArray(value)) return value.length;
  return value instanceof Map ? value.size : 0;
}

/** How often a text occurs in another; an empty one before every character and at the end. */
export function countOf(text: string, part: string): number {
  if (part === "") return text.length + 1;
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

/** Python's `==`. What is compared was measured, so that it ends. */
export function isEqual(left: Value, right: Value): boolean {
  const [a, b] = [left.value, right.value];
  // Of none and what is not defined, neither has a value, but they are not equal.
  if (a === undefined || b === undefined) return left.type === right.type;
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => isEqual(item, b[i]));
  }
  if (a instanceof Map && b instanceof Map) {
    const isSame = ([key, item]: [string, Value]) => b.has(key) && isEqual(item, b.get(key));
    return a.size === b.size && [...a].every(isSame);
  }
  const isNumber = (content: unknown) =>
    typeof content === "number" || typeof content === "boolean";
  return isNumber(a) && isNumber(b) && Number(a) === Number(b);
}

/** JavaScript would write a function's source. */
export function refuseFunctions(value: Value): void {
  if (typeof value.value === "function") throw unwritable("a function");
}

export function unwritable(what: string): UserError {
  return new UserError(
    `The chat template failed: ${what} is no text, and stands where one is written or listed. Name another template, such as "chatml".`,
  );
}
