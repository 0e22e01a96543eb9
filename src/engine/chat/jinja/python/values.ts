// The values of a template: Python's, as far as Jinja shows them. Lists and mappings never change
// once they are made.

import { TemplateRuntimeError } from "../errors.ts";
import { lengthOf } from "./texts.ts";

/** A whole number; a bigint only beyond what a number holds exactly. */
export type Int = number | bigint;

export type Value =
  | null
  | boolean
  | string
  | Int
  | Float
  | Markup
  | List
  | Tuple
  | Dict
  | Range
  | View
  | Lazy
  | Undefined
  | Thing;

export type Keywords = ReadonlyMap<string, Value>;

/** A number with a fraction, even if that is zero. */
export class Float {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** A text that is HTML already: what it is joined with is escaped. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export class List {
  readonly items: readonly Value[];

  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

export class Tuple {
  readonly items: readonly Value[];

  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** Of `groupby`: the value that a group has in common, and the group. */
export class Group extends Tuple {}

/** In the order of insertion. `1`, `1.0` and `true` are one key. */
export class Dict {
  readonly #entries = new Map<unknown, readonly [Value, Value]>();

  constructor(entries: Iterable<readonly [Value, Value]> = []) {
    for (const [key, value] of entries) this.set(key, value);
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: Value): Value | undefined {
    return this.#entries.get(hashOf(key))?.[1];
  }

  has(key: Value): boolean {
    return this.#entries.has(hashOf(key));
  }

  /** Only while it is made, and in a namespace. The first spelling of a key stays. */
  set(key: Value, value: Value): void {
    const hash = hashOf(key);
    this.#entries.set(hash, [this.#entries.get(hash)?.[0] ?? key, value]);
  }

  entries(): IterableIterator<readonly [Value, Value]> {
    return this.#entries.values();
  }
}

export class Range {
  readonly start: number;
  readonly stop: number;
  readonly step: number;

  constructor(start: number, stop: number, step: number) {
    this.start = start;
    this.stop = stop;
    this.step = step;
  }

  get length(): number {
    return Math.max(0, Math.ceil((this.stop - this.start) / this.step));
  }

  at(index: number): number {
    return this.start + index * this.step;
  }
}

/** What `keys()`, `values()` and `items()` of a mapping give. */
export class View {
  readonly kind: "keys" | "values" | "items";
  readonly dict: Dict;

  constructor(kind: View["kind"], dict: Dict) {
    this.kind = kind;
    this.dict = dict;
  }

  *[Symbol.iterator](): Iterator<Value> {
    for (const [key, value] of this.dict.entries()) {
      yield this.kind === "keys" ? key : this.kind === "values" ? value : new Tuple([key, value]);
    }
  }
}

/** A generator: its items are made on demand, and only once. */
export class Lazy {
  readonly items: IterableIterator<Value>;

  constructor(items: IterableIterator<Value>) {
    this.items = items;
  }
}

/**
 * What a name or an attribute is that does not exist: an empty text, but an error in most
 * operations.
 */
export class Undefined {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }

  fail(): never {
    throw new TemplateRuntimeError(this.message);
  }
}

/** Other values with attributes or calls: functions, macros, loops, namespaces. */
export abstract class Thing {
  abstract readonly typeName: string;
  /** As it is printed; undefined if Python prints an address. */
  get printed(): string | undefined {
    return undefined;
  }

  /** Undefined if it has no length. */
  get size(): number | undefined {
    return undefined;
  }

  /** Undefined if it has no such thing. */
  attribute(_name: string): Value | undefined {
    return undefined;
  }

  /** Undefined if it cannot be called. */
  readonly call?: ((args: readonly Value[], keywords: Keywords) => Value) | undefined;
}

export class Callable extends Thing {
  readonly typeName = "function";
  readonly #printed: string | undefined;
  override readonly call: (args: readonly Value[], keywords: Keywords) => Value;

  constructor(call: (args: readonly Value[], keywords: Keywords) => Value, printed?: string) {
    super();
    this.call = call;
    this.#printed = printed;
  }

  override get printed(): string | undefined {
    return this.#printed;
  }
}

export class Namespace extends Thing {
  readonly typeName = "jinja2.utils.Namespace";
  readonly attributes: Dict;

  constructor(attributes: Dict) {
    super();
    this.attributes = attributes;
  }

  override attribute(name: string): Value | undefined {
    return this.attributes.get(name);
  }
}

export const NO_KEYWORDS: Keywords = new Map();

/** What equals another has the same. */
export function hashOf(key: Value): unknown {
  if (typeof key === "string") return key[0] === "\0" ? `\0${key}` : key;
  if (typeof key === "boolean") return Number(key);
  if (key instanceof Markup) return hashOf(key.text);
  if (key instanceof Float) {
    const isBig = Number.isInteger(key.value) && !Number.isSafeInteger(key.value);
    return isBig ? BigInt(key.value) : key.value;
  }
  if (key instanceof Tuple) {
    const hashes = key.items.map((item) => {
      const hash = hashOf(item);
      if (typeof hash === "object" && hash !== null) throw unhashable(key);
      return `${typeof hash} ${String(hash).length} ${String(hash)}`;
    });
    return `\0(${hashes.join("")}`;
  }
  if (key instanceof List || key instanceof Dict || key instanceof View) throw unhashable(key);
  if (key instanceof Undefined) return UNDEFINED_KEY;
  if (key instanceof Range) return `\0range ${key.start} ${key.stop} ${key.step}`;
  return key;
}

const UNDEFINED_KEY = Symbol("undefined");

function unhashable(key: Value): TemplateRuntimeError {
  return new TemplateRuntimeError(`a ${typeName(key)} is no key (unhashable type)`);
}

/** The text of a text, with or without markup. */
export function asText(value: Value | undefined): string | undefined {
  if (typeof value === "string") return value;
  return value instanceof Markup ? value.text : undefined;
}

/** The number of a number or a boolean; undefined for other values. */
export function asNumber(value: Value): number | bigint | Float | undefined {
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "number" || typeof value === "bigint") return value;
  return value instanceof Float ? value : undefined;
}

export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "string") return "str";
  if (typeof value === "number" || typeof value === "bigint") return "int";
  if (value instanceof Float) return "float";
  if (value instanceof Markup) return "Markup";
  if (value instanceof List) return "list";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Dict) return "dict";
  if (value instanceof Range) return "range";
  if (value instanceof View) return `dict_${value.kind}`;
  if (value instanceof Lazy) return "generator";
  return value instanceof Undefined ? "Undefined" : value.typeName;
}

/** Undefined if a value has no length. */
export function sizeOf(value: Value): number | undefined {
  const text = asText(value);
  if (text !== undefined) return lengthOf(text);
  if (value instanceof List || value instanceof Tuple) return value.items.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof Range) return value.length;
  if (value instanceof View) return value.dict.size;
  if (value instanceof Undefined) return 0;
  return value instanceof Thing ? value.size : undefined;
}

export function isTrue(value: Value): boolean {
  if (value === null || typeof value !== "object") return Boolean(value);
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Markup) return value.text !== "";
  return sizeOf(value) !== 0;
}

/** Undefined if a value has no items. */
export function itemsOf(value: Value): Iterable<Value> | undefined {
  const text = asText(value);
  if (text !== undefined) return value instanceof Markup ? marked(text) : text;
  if (value instanceof List || value instanceof Tuple) return value.items;
  if (value instanceof Dict) return new View("keys", value);
  if (value instanceof View) return value;
  if (value instanceof Lazy) return value.items;
  if (value instanceof Range) return numbersOf(value);
  return value instanceof Undefined ? [] : undefined;
}

export function iterate(value: Value): Iterable<Value> {
  const items = itemsOf(value);
  if (items !== undefined) return items;
  throw new TemplateRuntimeError(`a ${typeName(value)} has no items to go through`);
}

function* marked(text: string): Generator<Value> {
  for (const character of text) yield new Markup(character);
}

function* numbersOf(range: Range): Generator<Value> {
  const { length } = range;
  for (let i = 0; i < length; i++) yield range.at(i);
}

/** Of JSON's values: whole numbers become whole ones. */
export function valueFrom(json: unknown): Value {
  if (json === null || typeof json === "string" || typeof json === "boolean") return json;
  if (typeof json === "number") return Number.isInteger(json) ? json : new Float(json);
  if (Array.isArray(json)) return new List(json.map(valueFrom));
  if (json instanceof Thing) return json;
  const entries = Object.entries(json as object);
  return new Dict(entries.map(([key, value]) => [key, valueFrom(value)]));
}
