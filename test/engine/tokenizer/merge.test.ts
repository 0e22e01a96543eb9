import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type FindMerge,
  type Merge,
  mergeUnits,
} from "../../../src/engine/tokenizer/algorithms/merge.ts";

/** The definition, word for word: look for the best pair, join it, start again. */
function mergeSlowly(units: readonly number[], find: FindMerge): number[] {
  const symbols = [...units];
  for (;;) {
    let best: { merge: Merge; at: number } | undefined;
    for (let at = 0; at + 1 < symbols.length; at++) {
      const merge = find(symbols[at]!, symbols[at + 1]!);
      if (merge && (best === undefined || merge.rank < best.merge.rank)) best = { merge, at };
    }
    if (best === undefined) return symbols;
    symbols.splice(best.at, 2, best.merge.symbol);
  }
}

/** A few symbols, many merges, equal ranks among them. */
const merges = fc
  .array(fc.record({ left: fc.nat(5), right: fc.nat(5), rank: fc.nat(8), symbol: fc.nat(5) }), {
    maxLength: 20,
  })
  .map(
    (rows): FindMerge =>
      (left, right) =>
        rows.find((row) => row.left === left && row.right === right),
  );

describe("merging", () => {
  it("joins what the definition joins, in its order", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5), { maxLength: 40 }), merges, (units, find) => {
        const spans = mergeUnits(units, find);
        expect(spans.map(({ symbol }) => symbol)).toEqual(mergeSlowly(units, find));
        expect(spans.flatMap(({ start, end }) => units.slice(start, end))).toEqual(units);
        expect(spans.map(({ start }) => start)).toEqual(
          [0, ...spans.map(({ end }) => end)].slice(0, -1),
        );
      }),
      { numRuns: 2000 },
    );
  });

  it("takes the leftmost of equals", () => {
    const find: FindMerge = () => ({ rank: 0, symbol: 9 });
    const odd: FindMerge = (left, right) => (left === 1 && right === 1 ? find(1, 1) : undefined);
    expect(mergeUnits([1, 1, 1], odd)).toEqual([
      { symbol: 9, start: 0, end: 2 },
      { symbol: 1, start: 2, end: 3 },
    ]);
  });

  it("has nothing to do for nothing", () => {
    expect(mergeUnits([], () => undefined)).toEqual([]);
  });
});
