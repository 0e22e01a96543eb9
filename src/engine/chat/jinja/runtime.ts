// What filters and tests may ask of the interpreter that runs them.

import type { Meter } from "./meter.ts";
import type { Keywords, Value } from "./python/values.ts";

export interface Runtime {
  readonly meter: Meter;
  /** Within `{% autoescape true %}`. */
  readonly autoescape: boolean;
  filter(name: Value, value: Value, args: readonly Value[], keywords: Keywords): Value;
  test(name: Value, value: Value, args: readonly Value[], keywords: Keywords): boolean;
}

export interface Operation<Result> {
  /** As `bind` takes them; undefined: all arguments as they are. */
  readonly parameters?: string;
  readonly run: (
    value: Value,
    given: readonly (Value | undefined)[],
    runtime: Runtime,
    keywords: Keywords,
  ) => Result;
}
