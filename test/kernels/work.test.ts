// The work of attention as a pure function: what is seen is met once, by ranges that follow from the
// token alone.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isVisible } from "../../src/context/positions/attention-policy.ts";
import {
  ITEM_WORDS,
  MERGE_WORDS,
  type Piece,
  planWork,
  SHORT_PIECE,
  type Work,
  type WorkOptions,
} from "../../src/kernels/attention/work.ts";

const FULL = 0xffffffff;

const options = (more: Partial<WorkOptions> = {}): WorkOptions => ({
  pageSize: 4,
  tokens: { short: 2, long: 8 },
  range: () => 8,
  rows: 1000,
  ...more,
});

/** The last tokens of a text whose pages, but those that nothing sees any more, lie from page 10 on. */
function piece(start: number, tokens: number, sinks = 0, window = FULL, pageSize = 4): Piece {
  const all = Array.from({ length: Math.ceil((start + tokens) / pageSize) }, (_, i) => i);
  const held = all.filter((i) => {
    const last = i * pageSize + pageSize - 1;
    return i * pageSize < sinks || start - last < window;
  });
  const entries = held.map((i) => ({ page: 10 + i, first: i * pageSize }));
  return { tokens, start, entries, sinks, window };
}

const FIELDS = [
  "token",
  "tokens",
  "start",
  "table",
  "begin",
  "end",
  "sinks",
  "window",
  "out",
  "ways",
] as const;

function itemsOf(words: Uint32Array): Record<(typeof FIELDS)[number], number>[] {
  return Array.from(
    { length: words.length / ITEM_WORDS },
    (_, i) =>
      Object.fromEntries(FIELDS.map((name, f) => [name, words[i * ITEM_WORDS + f]!])) as never,
  );
}

function mergesOf({ merges }: Work): number[][] {
  return Array.from({ length: merges.length / MERGE_WORDS }, (_, i) => [
    ...merges.subarray(i * MERGE_WORDS, (i + 1) * MERGE_WORDS),
  ]);
}

/** What each range of each token of a step meets, as [partial row, ways, positions seen]. */
function metBy(work: Work, pageSize: number): Map<number, [number, number, number[]][]> {
  const met = new Map<number, [number, number, number[]][]>();
  for (const item of [...itemsOf(work.short), ...itemsOf(work.long)]) {
    for (let t = 0; t < item.tokens; t++) {
      const seen: number[] = [];
      for (let slot = item.begin; slot < item.end; slot++) {
        const first = work.tables[2 * (item.table + Math.floor(slot / pageSize)) + 1]!;
        const key = first + (slot % pageSize);
        const { sinks, window } = item;
        if (isVisible({ name: "", sinks, window }, key, item.start + t)) seen.push(key);
      }
      const token = item.token + t;
      met.set(token, [...(met.get(token) ?? []), [item.out + t * item.ways, item.ways, seen]]);
    }
  }
  return met;
}

const visible = (sinks: number, window: number, t: number) =>
  Array.from({ length: t + 1 }, (_, key) => key).filter((key) =>
    isVisible({ name: "", sinks, window }, key, t),
  );

test("a text of one range is one item a tile, and nothing is merged", () => {
  const work = planWork([piece(5, 3)], options({ range: () => 64 }));
  expect(
    itemsOf(work.short).map(({ token, tokens, begin, end, ways }) => [
      token,
      tokens,
      begin,
      end,
      ways,
    ]),
  ).toEqual([
    [0, 2, 0, 7, 1],
    [2, 1, 0, 8, 1],
  ]);
  expect(work.merges.length).toBe(0);
  expect(work.long.length).toBe(0);
  expect(work.shortTokens).toBe(2);
  expect([...work.tables]).toEqual([10, 0, 11, 4]);
});

test("ranges begin at multiples of their length, and are merged in their order", () => {
  const work = planWork([piece(20, 1)], options());
  expect(itemsOf(work.short).map(({ begin, end, out, ways }) => [begin, end, out, ways])).toEqual([
    [0, 8, 0, 3],
    [8, 16, 1, 3],
    [16, 21, 2, 3],
  ]);
  expect(mergesOf(work)).toEqual([[0, 0, 3]]);
});

test("ranges without anything that a token sees are left out", () => {
  // Sinks 0 and 1, window 91 to 100: ranges 0, 11 and 12.
  const work = planWork([piece(100, 1, 2, 10)], options());
  const slotsOfPages = itemsOf(work.short).map(({ begin, end }) => [begin, end]);
  // Page 0, then those from position 88 on, which are slots 4 and more; the window begins at 91.
  expect(slotsOfPages).toEqual([
    [0, 4],
    [7, 12],
    [12, 17],
  ]);
});

test("several pieces: tables, tokens and partial rows follow one another", () => {
  const work = planWork([piece(20, 1), piece(3, 20), piece(9, 2)], options());
  expect(itemsOf(work.pieces)).toMatchObject([
    { token: 0, tokens: 1, start: 20, table: 0, begin: 0, end: 24, ways: 1 },
    { token: 1, tokens: 20, start: 3, table: 6, begin: 0, end: 24, ways: 1 },
    { token: 21, tokens: 2, start: 9, table: 12, begin: 0, end: 12, ways: 1 },
  ]);
  expect(new Set(itemsOf(work.short).map(({ token }) => token))).toEqual(new Set([0, 21]));
  expect(itemsOf(work.long).every(({ token, tokens }) => token >= 1 && token + tokens <= 21)).toBe(
    true,
  );
});

const anyPiece = fc
  .record({
    start: fc.nat(70),
    tokens: fc.integer({ min: 1, max: 30 }),
    sinks: fc.oneof(fc.constant(0), fc.nat(20)),
    window: fc.oneof(fc.constant(FULL), fc.integer({ min: 1, max: 40 })),
  })
  .map(({ start, tokens, sinks, window }) => ({ start, tokens, sinks, window }));

describe("of any pieces", () => {
  test("every key that a token sees is met once, and partial rows are taken once", () => {
    fc.assert(
      fc.property(
        fc.array(anyPiece, { minLength: 1, maxLength: 6 }),
        fc.constantFrom(1, 4, 16),
        fc.constantFrom(4, 8, 32, 2 ** 32),
        (given, pageSize, length) => {
          const pieces = given.map((p) => piece(p.start, p.tokens, p.sinks, p.window, pageSize));
          const work = planWork(pieces, options({ pageSize, range: () => length }));
          const met = metBy(work, pageSize);
          const merges = new Map(
            mergesOf(work).map(([token, row, ways]) => [token!, [row!, ways!]]),
          );
          const taken = new Set<number>();
          let token = 0;
          for (const { start, tokens, sinks, window } of pieces) {
            for (let t = 0; t < tokens; t++, token++) {
              const parts = met.get(token)!;
              expect(parts.flatMap(([, , keys]) => keys)).toEqual(
                visible(sinks, window, start + t),
              );
              expect(
                parts.every(([, ways, keys]) => ways === parts.length && keys.length > 0),
              ).toBe(true);
              if (parts.length === 1) {
                expect(merges.has(token)).toBe(false);
                continue;
              }
              const [row, ways] = merges.get(token)!;
              expect(parts.map(([out]) => out)).toEqual(parts.map((_, i) => row! + i));
              expect(ways).toBe(parts.length);
              for (const [out] of parts) {
                expect(taken.has(out)).toBe(false);
                taken.add(out);
              }
            }
          }
          expect(met.size).toBe(token);
          expect(Math.max(-1, ...taken)).toBe(taken.size - 1);
        },
      ),
      { seed: 1 },
    );
  });

  test("what a token of a short piece meets does not depend on its cut or its company", () => {
    const range = (keys: number) => Math.max(8, 2 ** Math.ceil(Math.log2(keys / 3)));
    fc.assert(
      fc.property(
        fc.record({ start: fc.nat(70), sinks: fc.nat(9), window: fc.integer({ min: 1, max: 99 }) }),
        fc.array(fc.integer({ min: 1, max: SHORT_PIECE }), { minLength: 1, maxLength: 4 }),
        fc.array(anyPiece, { maxLength: 3 }),
        ({ start, sinks, window }, cuts, company) => {
          let at = start;
          for (const count of cuts) {
            const pieces = [
              ...company.map((p) => piece(p.start, p.tokens, p.sinks, p.window)),
              piece(at, count, sinks, window),
            ];
            const before = company.reduce((sum, { tokens }) => sum + tokens, 0);
            const met = metBy(planWork(pieces, options({ range })), 4);
            for (let t = 0; t < count; t++) {
              const alone = metBy(
                planWork([piece(at + t, 1, sinks, window)], options({ range })),
                4,
              );
              const keys = (of: [number, number, number[]][]) => of.map(([, , seen]) => seen);
              expect(keys(met.get(before + t)!)).toEqual(keys(alone.get(0)!));
            }
            at += count;
          }
        },
      ),
      { seed: 2 },
    );
  });
});

test("a step with more rows to merge than there is room for takes longer ranges", () => {
  const pieces = Array.from({ length: 40 }, () => piece(63, 1));
  const work = planWork(pieces, options({ rows: 160 }));
  expect(mergesOf(work).every(([, , ways]) => ways === 4)).toBe(true);
  expect(
    mergesOf(planWork(pieces.slice(0, 20), options({ rows: 160 }))).every(
      ([, , ways]) => ways === 8,
    ),
  ).toBe(true);
  expect(planWork(pieces, options({ rows: 0 })).merges.length).toBe(0);
});
