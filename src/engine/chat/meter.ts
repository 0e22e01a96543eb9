// What a template has used of its limits.

import {
  DEEPEST_NESTING,
  DEEPEST_VALUE,
  ITEM_SIZE,
  type Limits,
  LONGEST_TIME,
  TemplateLimitError,
} from "./limits.ts";
import { itemsOf, refuseFunctions, unwritable, type Value } from "./values.ts";

/** What a value comes to where it is written out. */
export interface Extent {
  readonly characters: number;
  readonly depth: number;
}

export const NOTHING: Extent = { characters: 0, depth: 0 };

/** The type of the only values that change. */
const NAMESPACE = "NamespaceValue";

export class Meter {
  readonly #limits: Limits;
  readonly #deadline = performance.now() + LONGEST_TIME;
  /** Values do not change, but for namespaces, which are none of these. */
  readonly #measured = new WeakMap<Value, Extent>();
  #steps = 0;
  #memory = 0;
  #output = 0;
  #nesting = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /**
   * Counts a value where it is met for the first time. Throws where it is too large, nested too deeply or one too many,
   * and where a list or a mapping holds what cannot be written.
   */
  measure(value: Value): Extent {
    const known = this.#measured.get(value);
    if (known !== undefined) return known;
    const { value: content, type } = value;
    let extent: Extent;
    if (typeof content === "string") extent = { characters: content.length, depth: 0 };
    else if (Array.isArray(content)) extent = this.#measureItems(content, type);
    else if (content instanceof Map) extent = this.#measureEntries(content, type);
    else return NOTHING;

    this.checkSize(extent.characters);
    if (extent.depth > DEEPEST_VALUE) {
      throw new TemplateLimitError("nesting", `a value goes deeper than ${DEEPEST_VALUE} levels`);
    }
    const items = itemsOf(value);
    if (type === NAMESPACE) {
      this.step(items);
      return extent;
    }
    this.take(typeof content === "string" ? items : ITEM_SIZE * items);
    this.#measured.set(value, extent);
    return extent;
  }

  /** Counts memory, in characters. */
  take(characters: number): void {
    this.#memory += characters;
    if (this.#memory > this.#limits.memory) {
      const most = this.#limits.memory;
      throw new TemplateLimitError("memory", `its values take more than ${most} characters`);
    }
  }

  #measureItems(items: readonly Value[], holder: string): Extent {
    let characters = ITEM_SIZE * items.length;
    let depth = 0;
    for (const item of items) {
      // What can change after it was measured is in no list.
      if (item.type === NAMESPACE) throw unwritable("a namespace");
      if (holder !== NAMESPACE) refuseFunctions(item);
      const extent = this.measure(item);
      characters += extent.characters;
      depth = Math.max(depth, extent.depth);
    }
    return { characters, depth: depth + 1 };
  }

  #measureEntries(entries: ReadonlyMap<string, Value>, type: string): Extent {
    const { characters, depth } = this.#measureItems([...entries.values()], type);
    const keys = [...entries.keys()].reduce((sum, key) => sum + key.length, 0);
    return { characters: characters + keys, depth };
  }

  /** Goes down a level, until `leave`. */
  enter(): void {
    if (++this.#nesting > DEEPEST_NESTING) {
      throw new TemplateLimitError("nesting", `it goes deeper than ${DEEPEST_NESTING} levels`);
    }
  }

  leave(): void {
    this.#nesting--;
  }

  /** Counts expressions and blocks that are evaluated, or items that are looped over. */
  step(count: number): void {
    this.#steps += count;
    if (this.#steps > this.#limits.steps) {
      throw new TemplateLimitError("steps", `it did not end within ${this.#limits.steps} steps`);
    }
    if (performance.now() > this.#deadline) {
      throw new TemplateLimitError("time", `it did not end within ${LONGEST_TIME} ms`);
    }
  }

  /** Counts what a value writes. */
  write(value: Value): void {
    this.#output += this.measure(value).characters;
    if (this.#output > this.#limits.output) {
      throw new TemplateLimitError(
        "output",
        `it wrote more than ${this.#limits.output} characters`,
      );
    }
  }

  /** Of a value that is about to be made; a template can make NaN, which is refused too. */
  checkSize(characters: number): void {
    if (!(characters <= this.#limits.size)) {
      const most = this.#limits.size;
      throw new TemplateLimitError("size", `a value would take more than ${most} characters`);
    }
  }

  /** Of an operation that is about to compare so many characters. */
  checkWork(characters: number): void {
    if (!(characters <= this.#limits.work)) {
      const most = this.#limits.work;
      throw new TemplateLimitError(
        "work",
        `an operation would compare more than ${most} characters`,
      );
    }
  }
}
