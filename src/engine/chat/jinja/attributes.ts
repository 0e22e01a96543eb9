// `object.name` and `object[key]`, under the rules of Jinja's immutable sandbox: nothing that
// begins with an underscore, and no method that would change a list or a mapping.

import { ITEM_SIZE } from "../limits.ts";
import { TemplateRuntimeError } from "./errors.ts";
import type { Meter } from "./meter.ts";
import { bind, intOf } from "./python/arguments.ts";
import { formatBraces } from "./python/brace-format.ts";
import { isEqual } from "./python/comparing.ts";
import { isInt } from "./python/numbers.ts";
import { textMethod } from "./python/text-methods.ts";
import { characterAt, escapeHtml, pick } from "./python/texts.ts";
import {
  asNumber,
  asText,
  Callable,
  Dict,
  Float,
  Group,
  type Keywords,
  List,
  Markup,
  Range,
  sizeOf,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./python/values.ts";

const CHANGING: Readonly<Record<string, ReadonlySet<string>>> = {
  list: new Set("append clear pop reverse insert sort extend remove".split(" ")),
  dict: new Set("clear pop popitem setdefault update".split(" ")),
};

/** What every object of Python's has. */
const PRIVATE =
  /^__(?:class|delattr|dir|doc|eq|format|ge|getattribute|gt|hash|init|init_subclass|le|lt|ne|new|reduce|reduce_ex|repr|setattr|sizeof|str|subclasshook|len|contains|getitem|iter|reversed|or|ior|ror|setitem|delitem|class_getitem|add|mul|mod|rmul|rmod|getnewargs)__$/;

/** `object.name`: an attribute before a key. */
export function attributeOf(object: Value, name: string, meter: Meter): Value {
  if (object instanceof Undefined) object.fail();
  const attribute = own(object, name, meter);
  const found = attribute === undefined ? keyed(object, name) : attribute;
  return found === undefined ? missing(object, name) : found;
}

/** `object[key]`: a key before an attribute. */
export function itemOf(object: Value, key: Value, meter: Meter): Value {
  if (object instanceof Undefined) object.fail();
  const name = asText(key);
  let found = keyed(object, key);
  if (found === undefined && name !== undefined) found = own(object, name, meter);
  return found === undefined ? missing(object, key) : found;
}

function missing(object: Value, key: Value): Undefined {
  const name = typeof key === "string" ? `attribute "${key}"` : "such element";
  return new Undefined(`a ${typeName(object)} has no ${name}`);
}

/** Undefined if there is no such key, or none at all. */
function keyed(object: Value, key: Value): Value | undefined {
  if (object instanceof Dict) {
    try {
      return object.get(key);
    } catch (error) {
      if (error instanceof TemplateRuntimeError) return undefined;
      throw error;
    }
  }
  const index = typeof key === "number" ? key : asNumber(key);
  if (index === undefined || !isInt(index)) return undefined;
  const length = object instanceof View ? undefined : sizeOf(object);
  if (length === undefined || object instanceof Thing) return undefined;
  const place = Number(index) < 0 ? Number(index) + length : Number(index);
  if (place < 0 || place >= length) return undefined;
  if (object instanceof List || object instanceof Tuple) return object.items[place];
  if (object instanceof Range) return object.at(place);
  const character = characterAt(asText(object)!, place)!;
  return object instanceof Markup ? new Markup(character) : character;
}

/** An attribute or a method; undefined if there is none. */
function own(object: Value, name: string, meter: Meter): Value | undefined {
  const isThing = object instanceof Thing;
  if (name.startsWith("_")) {
    const exists = isThing ? object.attribute(name) !== undefined : PRIVATE.test(name);
    return exists ? unsafe(object, name) : undefined;
  }
  if (isThing) return object.attribute(name);
  if (typeof object === "string" || object instanceof Markup) {
    if (name === "format" || name === "format_map") return formatMethod(object, name, meter);
    return textMethod(object, name, meter);
  }
  if (CHANGING[typeName(object)]?.has(name)) return unsafe(object, name);
  if (object instanceof Dict) return dictMethod(object, name);
  if (object instanceof List || object instanceof Tuple) return listMember(object, name, meter);
  if (object instanceof Range) return rangeMember(object, name);
  const number = asNumber(object);
  return number === undefined ? undefined : numberMember(number, name);
}

function unsafe(object: Value, name: string): Undefined {
  return new Undefined(`"${name}" of a ${typeName(object)} is out of reach for templates`);
}

function formatMethod(owner: string | Markup, name: string, meter: Meter): Callable {
  const isMarkup = owner instanceof Markup;
  return new Callable((args, keywords) => {
    let named: Keywords = keywords;
    if (name === "format_map") {
      const [mapping] = bind("format_map()", "mapping", args, keywords);
      if (!(mapping instanceof Dict))
        throw new TemplateRuntimeError("format_map() needs a mapping");
      named = new Map([...mapping.entries()].map(([key, value]) => [asText(key) ?? "", value]));
    }
    const values = {
      args: name === "format_map" ? [] : args,
      keywords: named,
      attributeOf: (object: Value, attribute: string) => attributeOf(object, attribute, meter),
      itemOf: (object: Value, key: Value) => itemOf(object, key, meter),
      escape: isMarkup ? escapeHtml : undefined,
    };
    const text = formatBraces(isMarkup ? owner.text : owner, values, meter);
    return isMarkup ? new Markup(text) : text;
  });
}

/** A method of which all arguments are taken by their place. */
function method(
  name: string,
  parameters: string,
  run: (...given: (Value | undefined)[]) => Value,
): Callable {
  return new Callable((args, keywords) => {
    if (keywords.size > 0) throw new TemplateRuntimeError(`${name}() takes no arguments by name`);
    return run(...bind(`${name}()`, parameters, args, keywords));
  });
}

function dictMethod(dict: Dict, name: string): Value | undefined {
  switch (name) {
    case "keys":
    case "values":
    case "items":
      return method(name, "", () => new View(name, dict));
    case "get":
      return method(name, "key | default", (key, otherwise = null) => {
        const value = dict.get(key!);
        return value === undefined ? otherwise : value;
      });
    case "copy":
      return method(name, "", () => new Dict(dict.entries()));
    case "fromkeys":
      return method(name, "keys | value", (keys, value = null) => {
        const items = keys instanceof List || keys instanceof Tuple ? keys.items : [];
        return new Dict(items.map((key) => [key, value]));
      });
    default:
      return undefined;
  }
}

function listMember(list: List | Tuple, name: string, meter: Meter): Value | undefined {
  const { items } = list;
  switch (name) {
    case "grouper":
    case "list":
      return list instanceof Group ? items[name === "grouper" ? 0 : 1] : undefined;
    case "count":
      return method(
        name,
        "value",
        (value) => items.filter((item) => isEqual(item, value!, meter)).length,
      );
    case "index":
      return method(name, "value | start stop", (value, start = 0, stop = items.length) => {
        const place = (at: Value) => {
          const index = intOf(at, "a place");
          return Math.max(0, index < 0 ? index + items.length : index);
        };
        const to = Math.min(items.length, place(stop));
        for (let at = place(start); at < to; at++) {
          if (isEqual(items[at]!, value!, meter)) return at;
        }
        throw new TemplateRuntimeError("index() does not find what it seeks");
      });
    case "copy":
      return list instanceof List ? method(name, "", () => new List(items)) : undefined;
    default:
      return undefined;
  }
}

function rangeMember(range: Range, name: string): Value | undefined {
  const placeOf = (value: Value) => {
    const at = (Number(asNumber(value) ?? Number.NaN) - range.start) / range.step;
    return Number.isInteger(at) && at >= 0 && at < range.length ? at : -1;
  };
  switch (name) {
    case "start":
    case "stop":
    case "step":
      return range[name];
    case "count":
      return method(name, "value", (value) => Number(placeOf(value!) >= 0));
    case "index":
      return method(name, "value", (value) => {
        const at = placeOf(value!);
        if (at < 0) throw new TemplateRuntimeError("index() does not find what it seeks");
        return at;
      });
    default:
      return undefined;
  }
}

function numberMember(number: number | bigint | Float, name: string): Value | undefined {
  const isFloat = number instanceof Float;
  switch (name) {
    case "real":
      return number;
    case "imag":
      return isFloat ? new Float(0) : 0;
    case "conjugate":
      return method(name, "", () => number);
    case "is_integer":
      return isFloat ? method(name, "", () => Number.isInteger(number.value)) : undefined;
    case "numerator":
      return isFloat ? undefined : number;
    case "denominator":
      return isFloat ? undefined : 1;
    case "bit_length":
      return isFloat
        ? undefined
        : method(name, "", () =>
            Number(number) === 0 ? 0 : number.toString(2).replace("-", "").length,
          );
    default:
      return undefined;
  }
}

function canBeSliced(object: Value): boolean {
  return (
    asText(object) !== undefined ||
    object instanceof List ||
    object instanceof Tuple ||
    object instanceof Range
  );
}

/** `object[start:stop:step]`. */
export function sliceOf(
  object: Value,
  bounds: readonly (Value | undefined)[],
  meter: Meter,
): Value {
  const text = asText(object);
  if (object instanceof Undefined) object.fail();
  if (!canBeSliced(object))
    throw new TemplateRuntimeError(`a ${typeName(object)} cannot be sliced`);
  const [start, stop, step = 1] = bounds.map((bound) =>
    bound === undefined || bound === null ? undefined : intOf(bound, "a place in a slice"),
  );
  if (step === 0) throw new TemplateRuntimeError("a slice takes no step of zero");
  const length = sizeOf(object)!;
  const within = (at: number) => {
    const place = at < 0 ? at + length : at;
    return step > 0
      ? Math.max(0, Math.min(length, place))
      : Math.max(-1, Math.min(length - 1, place));
  };
  const from = start === undefined ? (step > 0 ? 0 : length - 1) : within(start);
  const to = stop === undefined ? (step > 0 ? length : -1) : within(stop);
  if (object instanceof Range) {
    return new Range(object.at(from), object.at(to), object.step * step);
  }
  if (text !== undefined) {
    meter.scan(text.length);
    const part =
      step === 1 && text.length === length
        ? text.slice(from, Math.max(from, to))
        : pick(text, placesOf(from, to, step, meter));
    return object instanceof Markup ? new Markup(part) : part;
  }
  const { items } = object as List | Tuple;
  const picked =
    step === 1
      ? items.slice(from, Math.max(from, to))
      : placesOf(from, to, step, meter).map((at) => items[at]!);
  return object instanceof List ? new List(picked) : new Tuple(picked);
}

function placesOf(from: number, to: number, step: number, meter: Meter): number[] {
  const count = Math.max(0, Math.ceil((to - from) / step));
  meter.checkSize(ITEM_SIZE * count);
  return Array.from({ length: count }, (_, i) => from + i * step);
}
