// What may stand behind `is`.

import { operate } from "./python/arithmetic.ts";
import { contains, holds, isEqual, type Order } from "./python/comparing.ts";
import { textOf } from "./python/printing.ts";
import { textMethod } from "./python/text-methods.ts";
import {
  asNumber,
  asText,
  Dict,
  Float,
  itemsOf,
  List,
  Markup,
  NO_KEYWORDS,
  Range,
  Thing,
  Tuple,
  Undefined,
  type Value,
} from "./python/values.ts";
import type { Operation, Runtime } from "./runtime.ts";

type Test = Operation<boolean>;

const simple = (run: (value: Value, runtime: Runtime) => boolean): Test => ({
  parameters: "",
  run: (value, _, runtime) => run(value, runtime),
});

const pair = (run: (value: Value, other: Value, runtime: Runtime) => boolean): Test => ({
  parameters: "other",
  run: (value, [other], runtime) => run(value, other!, runtime),
});

const ordered = (order: Order) =>
  pair((value, other, { meter }) => holds(order, value, other, meter));
const equal = pair((value, other, { meter }) => isEqual(value, other, meter));
const unequal = pair((value, other, { meter }) => !isEqual(value, other, meter));

/** Whether `value % divisor` is this. */
const remains = (value: Value, divisor: Value, rest: number, { meter }: Runtime) =>
  isEqual(operate("%", value, divisor, meter), rest, meter);

const hasCase = (method: "islower" | "isupper") =>
  simple((value, { meter }) => {
    return textMethod(textOf(value, meter), method, meter)!.call([], NO_KEYWORDS) === true;
  });

export const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["odd", simple((value, runtime) => remains(value, 2, 1, runtime))],
  ["even", simple((value, runtime) => remains(value, 2, 0, runtime))],
  [
    "divisibleby",
    { parameters: "num", run: (value, [num], runtime) => remains(value, num!, 0, runtime) },
  ],
  ["defined", simple((value) => !(value instanceof Undefined))],
  ["undefined", simple((value) => value instanceof Undefined)],
  ["none", simple((value) => value === null)],
  ["boolean", simple((value) => typeof value === "boolean")],
  ["false", simple((value) => value === false)],
  ["true", simple((value) => value === true)],
  ["integer", simple((value) => typeof value === "number" || typeof value === "bigint")],
  ["float", simple((value) => value instanceof Float)],
  ["lower", hasCase("islower")],
  ["upper", hasCase("isupper")],
  ["string", simple((value) => asText(value) !== undefined)],
  ["mapping", simple((value) => value instanceof Dict)],
  ["number", simple((value) => asNumber(value) !== undefined)],
  [
    "sequence",
    simple(
      (value) =>
        asText(value) !== undefined ||
        [List, Tuple, Dict, Range, Undefined].some((type) => value instanceof type),
    ),
  ],
  ["iterable", simple((value) => itemsOf(value) !== undefined)],
  [
    "callable",
    simple(
      (value) => value instanceof Undefined || (value instanceof Thing && value.call !== undefined),
    ),
  ],
  // A text is the same as one that was written or made elsewhere; Python may see two.
  ["sameas", pair((value, other) => value === other)],
  ["escaped", simple((value) => value instanceof Markup)],
  ["in", { parameters: "seq", run: (value, [seq], { meter }) => contains(seq!, value, meter) }],
  ["==", equal],
  ["eq", equal],
  ["equalto", equal],
  ["!=", unequal],
  ["ne", unequal],
  [">", ordered(">")],
  ["gt", ordered(">")],
  ["greaterthan", ordered(">")],
  [">=", ordered(">=")],
  ["ge", ordered(">=")],
  ["<", ordered("<")],
  ["lt", ordered("<")],
  ["lessthan", ordered("<")],
  ["<=", ordered("<=")],
  ["le", ordered("<=")],
]);
