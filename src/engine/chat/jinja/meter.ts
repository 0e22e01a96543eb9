// Counts what a template has used of its limits. Work is counted, not time.

import {
  DEEPEST_NESTING,
  ITEM_SIZE,
  type Limits,
  SCANNED_PER_STEP,
  TemplateLimitError,
} from "../limits.ts";
import { Dict, List, Markup, Tuple, type Value } from "./python/values.ts";

export class Meter {
  readonly limits: Limits;
  #steps = 0;
  #memory = 0;
  #output = 0;
  #nesting = 0;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  /** Counts expressions and statements that are evaluated, or items that are gone through. */
  step(count: number): void {
    this.#steps += count;
    if (this.#steps > this.limits.steps) {
      const most = this.limits.steps;
      throw new TemplateLimitError("steps", `it did not end within ${most} steps`);
    }
  }

  /** Counts characters that one operation looks at. */
  scan(characters: number): void {
    this.step(characters / SCANNED_PER_STEP);
  }

  /** Counts the value that an operation has made, and returns it. */
  made<V extends Value>(value: V): V {
    if (typeof value === "string") this.#take(value.length);
    else if (typeof value === "object" && value !== null) {
      if (value instanceof List || value instanceof Tuple)
        this.#take(ITEM_SIZE * value.items.length);
      else if (value instanceof Markup) this.#take(value.text.length);
      else if (value instanceof Dict) this.#take(2 * ITEM_SIZE * value.size);
      else this.#take(ITEM_SIZE);
    }
    return value;
  }

  #take(characters: number): void {
    this.checkSize(characters);
    this.#memory += characters;
    if (this.#memory > this.limits.memory) {
      const most = this.limits.memory;
      throw new TemplateLimitError("memory", `its values take more than ${most} characters`);
    }
  }

  /** Counts what is written. */
  write(text: string): void {
    this.#output += text.length;
    if (this.#output > this.limits.output) {
      const most = this.limits.output;
      throw new TemplateLimitError("output", `it wrote more than ${most} characters`);
    }
  }

  /**
   * Checks the size of a value before it is made; a template can make NaN, which is refused too.
   */
  checkSize(characters: number): void {
    if (!(characters <= this.limits.size)) {
      const most = this.limits.size;
      throw new TemplateLimitError("size", `a value would take more than ${most} characters`);
    }
  }

  /** Counts an operation that is about to compare this many characters. */
  checkWork(characters: number): void {
    if (!(characters <= this.limits.work)) {
      const most = this.limits.work;
      throw new TemplateLimitError(
        "work",
        `an operation would compare more than ${most} characters`,
      );
    }
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
}
