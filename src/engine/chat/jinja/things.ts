// Values of a template besides plain ones: loops, macros, blocks, and what `cycler` and `joiner`
// give.

import { TemplateRuntimeError } from "./errors.ts";
import type { Meter } from "./meter.ts";
import { isEqual } from "./python/comparing.ts";
import {
  Callable,
  iterate,
  type Keywords,
  sizeOf,
  Thing,
  Tuple,
  Undefined,
  type Value,
} from "./python/values.ts";

/** `loop`. Iterates over its items itself, one ahead if the template reads the next item. */
export class Loop extends Thing {
  readonly typeName = "jinja2.runtime.LoopContext";
  override readonly call: (args: readonly Value[]) => Value;
  readonly #meter: Meter;
  readonly #depth: number;
  #items: Iterator<Value>;
  #length: number | undefined;
  #next: IteratorResult<Value> | undefined;
  #index = -1;
  #before: Value | undefined;
  #current: Value | undefined;
  #seen: Value | undefined;

  /** `recurse`: what renders the loop's body for other items. */
  constructor(value: Value, meter: Meter, depth: number, recurse: (items: Value) => Value) {
    super();
    this.#items = iterate(value)[Symbol.iterator]();
    this.#length = sizeOf(value);
    this.#meter = meter;
    this.#depth = depth;
    this.call = (args) => recurse(args[0] ?? null);
  }

  /** Undefined if there is no other item. */
  advance(): Value | undefined {
    const { done, value } = this.#peek();
    this.#next = undefined;
    if (done) return undefined;
    this.#meter.step(1);
    this.#index++;
    this.#before = this.#current;
    this.#current = value;
    return value;
  }

  #peek(): IteratorResult<Value> {
    this.#next ??= this.#items.next();
    return this.#next;
  }

  override get size(): number {
    if (this.#length === undefined) {
      const rest: Value[] = [];
      for (let item = this.#items.next(); !item.done; item = this.#items.next()) {
        this.#meter.step(1);
        rest.push(item.value);
      }
      const ahead = this.#next && !this.#next.done ? 1 : 0;
      this.#length = this.#index + 1 + ahead + rest.length;
      this.#items = rest.values();
    }
    return this.#length;
  }

  override get printed(): string {
    return `<LoopContext ${this.#index + 1}/${this.size}>`;
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case "index":
        return this.#index + 1;
      case "index0":
        return this.#index;
      case "revindex":
        return this.size - this.#index;
      case "revindex0":
        return this.size - this.#index - 1;
      case "first":
        return this.#index === 0;
      case "last":
        return this.#peek().done === true;
      case "length":
        return this.size;
      case "depth":
        return this.#depth + 1;
      case "depth0":
        return this.#depth;
      case "previtem":
        return this.#before === undefined
          ? new Undefined("there is no previous item")
          : this.#before;
      case "nextitem": {
        const { done, value } = this.#peek();
        return done ? new Undefined("there is no next item") : value;
      }
      case "cycle":
        return new Callable((args) => {
          if (args.length === 0) throw new TemplateRuntimeError("cycle() needs items");
          return args[this.#index % args.length]!;
        });
      case "changed":
        return new Callable((args) => {
          const value = new Tuple(args);
          if (this.#seen !== undefined && isEqual(this.#seen, value, this.#meter)) return false;
          this.#seen = value;
          return true;
        });
      default:
        return undefined;
    }
  }
}

interface MacroFacts {
  readonly name: string | undefined;
  readonly parameters: readonly string[];
  readonly specials: ReadonlySet<string>;
}

export class Macro extends Thing {
  readonly typeName = "jinja2.runtime.Macro";
  readonly #facts: MacroFacts;
  override readonly call: (args: readonly Value[], keywords: Keywords) => Value;

  constructor(facts: MacroFacts, call: Macro["call"]) {
    super();
    this.#facts = facts;
    this.call = call;
  }

  override get printed(): string {
    const { name } = this.#facts;
    return `<Macro ${name === undefined ? "anonymous" : `'${name}'`}>`;
  }

  override attribute(attribute: string): Value | undefined {
    const { name, parameters, specials } = this.#facts;
    switch (attribute) {
      case "name":
        return name ?? null;
      case "arguments":
        return new Tuple(parameters);
      case "caller":
        return specials.has("caller");
      case "catch_kwargs":
        return specials.has("kwargs");
      case "catch_varargs":
        return specials.has("varargs");
      case "explicit_caller":
        return parameters.includes("caller");
      default:
        return undefined;
    }
  }
}

/** `self`: the template's blocks by their names. */
export class Blocks extends Thing {
  readonly typeName = "jinja2.runtime.TemplateReference";
  readonly #block: (name: string) => Value | undefined;

  constructor(block: (name: string) => Value | undefined) {
    super();
    this.#block = block;
  }

  override get printed(): string {
    return "<TemplateReference None>";
  }

  override attribute(name: string): Value | undefined {
    return this.#block(name);
  }
}

export class Cycler extends Thing {
  readonly typeName = "jinja2.utils.Cycler";
  readonly #items: readonly Value[];
  #at = 0;

  constructor(items: readonly Value[]) {
    super();
    if (items.length === 0) throw new TemplateRuntimeError("cycler() needs items");
    this.#items = items;
  }

  override attribute(name: string): Value | undefined {
    const current = this.#items[this.#at]!;
    switch (name) {
      case "current":
        return current;
      case "items":
        return new Tuple(this.#items);
      case "pos":
        return this.#at;
      case "next":
        return new Callable(() => {
          const item = this.#items[this.#at]!;
          this.#at = (this.#at + 1) % this.#items.length;
          return item;
        });
      case "reset":
        return new Callable(() => {
          this.#at = 0;
          return null;
        });
      default:
        return undefined;
    }
  }
}

/** An empty text at the first call, then the separator. */
export class Joiner extends Thing {
  readonly typeName = "jinja2.utils.Joiner";
  readonly #separator: Value;
  #isUsed = false;
  override readonly call = (): Value => {
    if (this.#isUsed) return this.#separator;
    this.#isUsed = true;
    return "";
  };

  constructor(separator: Value) {
    super();
    this.#separator = separator;
  }

  override attribute(name: string): Value | undefined {
    if (name === "sep") return this.#separator;
    return name === "used" ? this.#isUsed : undefined;
  }
}
