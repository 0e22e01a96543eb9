// Arguments of functions that are not the template's own: by place or by name, and of the right
// type.

import { TemplateRuntimeError } from "../errors.ts";
import { isInt, truncated } from "./numbers.ts";
import { asNumber, asText, Float, isTrue, type Keywords, typeName, type Value } from "./values.ts";

/**
 * Arguments in the order of the parameters, undefined for those that are not given. `parameters`:
 * names; those before "|" must be given.
 */
export function bind(
  name: string,
  parameters: string,
  args: readonly Value[],
  keywords: Keywords,
): (Value | undefined)[] {
  const [needed = [], optional = []] = parameters
    .split("|")
    .map((names) => names.split(" ").filter(Boolean));
  const names = [...needed, ...optional];
  if (args.length > names.length) {
    throw new TemplateRuntimeError(`${name} takes ${names.length} arguments, not ${args.length}`);
  }
  const bound: (Value | undefined)[] = names.map((_, i) => args[i]);
  for (const [keyword, value] of keywords) {
    const at = names.indexOf(keyword);
    if (at < 0 || bound[at] !== undefined) {
      throw new TemplateRuntimeError(
        at < 0 ? `${name} takes no argument "${keyword}"` : `${name} got "${keyword}" twice`,
      );
    }
    bound[at] = value;
  }
  const missing = needed.find((_, i) => bound[i] === undefined);
  if (missing !== undefined) throw new TemplateRuntimeError(`${name} needs "${missing}"`);
  return bound;
}

/** A whole number, as an index is. */
export function intOf(value: Value, name: string): number {
  const number = asNumber(value);
  if (number !== undefined && isInt(number)) {
    // Beyond what a text or a list can hold, one is as good as another.
    const limit = Number.MAX_SAFE_INTEGER;
    return Math.max(-limit, Math.min(limit, Number(number)));
  }
  throw new TemplateRuntimeError(`${name} must be a whole number, not a ${typeName(value)}`);
}

export function stringOf(value: Value, name: string): string {
  const text = asText(value);
  if (text !== undefined) return text;
  throw new TemplateRuntimeError(`${name} must be a text, not a ${typeName(value)}`);
}

/** A text or none. */
export function optionalString(value: Value | undefined, name: string): string | undefined {
  return value === undefined || value === null ? undefined : stringOf(value, name);
}

export function optionalInt(value: Value | undefined, otherwise: number, name: string): number {
  return value === undefined ? otherwise : intOf(value, name);
}

export function isTrueOr(value: Value | undefined, otherwise: boolean): boolean {
  return value === undefined ? otherwise : isTrue(value);
}

/** The whole number that a float or a whole number has, as `%d` takes it. */
export function wholeOf(value: Value, name: string) {
  const number = asNumber(value);
  if (number === undefined) {
    throw new TemplateRuntimeError(`${name} needs a number, not a ${typeName(value)}`);
  }
  return number instanceof Float ? truncated(number.value) : number;
}
