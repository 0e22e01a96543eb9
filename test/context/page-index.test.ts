// Pages that later texts find: against a plain list of all texts whose pages hold something.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CachePages } from "../../src/context/cache/cache-pages.ts";
import { FINDABLE_TOKENS } from "../../src/context/cache/page-index.ts";
import type { Sequence } from "../../src/context/cache/sequence.ts";
import { attentionPolicy, FULL_ATTENTION } from "../../src/context/positions/attention-policy.ts";
import { CapacityError } from "../../src/index.ts";

const P = 4;
const FULL = Number.POSITIVE_INFINITY;

function cache({ windows = [FULL], pages = [12], prefixes = true } = {}) {
  return new CachePages({
    groups: windows.map((window, i) => ({ layers: [i], window, pages: pages[i]! })),
    policy: FULL_ATTENTION,
    context: 1000,
    pageSize: P,
    chunk: 6,
    movesBeyond: FULL,
    prefixes,
  });
}

const many = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

/** Appends tokens as steps do. */
function compute(sequence: Sequence, ids: readonly number[], most = 6): void {
  for (let at = 0; at < ids.length; at += most) {
    const tokens = ids.slice(at, at + most);
    sequence.append(tokens);
    sequence.computed(tokens.length);
  }
}

const pagesOf = ({ tables }: Sequence) =>
  tables.map(({ entries }) => entries.map(({ page }) => page));

describe("whole pages", () => {
  test("are found by the text in them and before them, and held once", () => {
    const pages = cache();
    const [first, second] = [pages.sequence(), pages.sequence()];
    compute(first, many(11));
    expect(second.find([...many(10), 99, 98], 12)).toBe(8);
    expect([second.length, second.ids, second.cached]).toEqual([8, many(8), 8]);
    expect(pagesOf(second)).toEqual([pagesOf(first)[0]!.slice(0, 2)]);
    expect(pages.used).toBe(3);
    compute(second, [8, 9, 99, 98]);
    expect(pages.used).toBe(4);
    first.clear();
    second.clear();
    expect(pages.used).toBe(0);
  });

  test("are not found by another beginning, nor under another policy", () => {
    const pages = cache();
    compute(pages.sequence(), many(12));
    const other = pages.sequence();
    expect(other.find([7, ...many(11, 1)], 12)).toBe(0);
    expect(pages.sequence(attentionPolicy("window:6")).find(many(12), 12)).toBe(0);
    expect(other.find(many(12), 11)).toBe(8); // the last token is wanted anew
  });

  test("stay findable when nothing uses them, until the room is needed: the oldest goes first", () => {
    const pages = cache({ pages: [6] });
    const [old, young] = [many(12), many(12, 50)];
    for (const ids of [old, young]) {
      const sequence = pages.sequence();
      compute(sequence, ids);
      sequence.clear();
    }
    expect([pages.used, pages.pools[0]!.idle]).toEqual([0, 6]);
    // A text of two pages takes the end of the text that was used longest ago.
    const third = pages.sequence();
    compute(third, many(8, 90));
    expect(pages.sequence().find(old, 12)).toBe(4);
    const again = pages.sequence();
    expect(again.find(young, 12)).toBe(12);
    expect(pages.used).toBe(2 + 1 + 3);
  });

  test("of texts in use are never taken", () => {
    const pages = cache({ pages: [4] });
    const text = pages.sequence();
    compute(text, many(12));
    const other = pages.sequence();
    compute(other, many(4, 50));
    expect(() => other.append([1])).toThrow(CapacityError);
    expect(pages.sequence().find(many(12), 12)).toBe(12);
  });

  test("are found no more once a text is cut within them and goes on", () => {
    const pages = cache();
    const text = pages.sequence();
    compute(text, many(8));
    text.truncate(6);
    compute(text, [70, 71]);
    const found = pages.sequence();
    expect(found.find(many(8), 8)).toBe(4);
    found.clear();
    expect(pages.sequence().find([...many(6), 70, 71], 8)).toBe(8);
  });

  test("are found no more once they are written anew, also if another text read them when they were cut", () => {
    const pages = cache();
    const [text, other] = [pages.sequence(), pages.sequence()];
    compute(text, many(8));
    expect(other.find(many(9), 8)).toBe(8);
    text.truncate(6); // the other still reads its second page
    other.clear();
    compute(text, [70, 71]);
    const found = pages.sequence();
    expect(found.find(many(8), 8)).toBe(4);
  });

  test("that a layer has not computed, or whose tokens are unknown, are not found", async () => {
    const pages = cache();
    const text = pages.sequence();
    text.append(many(6)); // some layers only: nobody says that they are computed
    text.append(many(2, 6));
    text.computed(2);
    expect(pages.sequence().find(many(8), 8)).toBe(0);

    const chosen = pages.sequence();
    compute(chosen, many(3));
    const token = Promise.resolve(3);
    chosen.append(token);
    chosen.computed(1);
    expect(pages.sequence().find(many(4), 4)).toBe(0);
    await token;
    chosen.append([4]);
    chosen.computed(1);
    expect(pages.sequence().find(many(4), 4)).toBe(4);
  });

  test("that may be taken back are found after the next step only", () => {
    const pages = cache();
    const text = pages.sequence();
    text.append(many(8));
    text.computed(8, true);
    expect(pages.sequence().find(many(8), 8)).toBe(0);
    text.truncate(5);
    text.append([60]);
    text.computed(1);
    expect(pages.sequence().find(many(8), 8)).toBe(4);
  });

  test("are lost with the device, and found again when they are computed again", () => {
    const pages = cache();
    const text = pages.sequence();
    compute(text, many(8));
    pages.lose();
    expect(pages.used).toBe(0);
    expect(pages.sequence().find(many(8), 8)).toBe(0);
    text.discard();
    compute(text, many(8));
    expect(pages.sequence().find(many(8), 8)).toBe(8);
  });

  test("are not looked for if the cache was made without", () => {
    const pages = cache({ prefixes: false });
    const text = pages.sequence();
    compute(text, many(8));
    expect(pages.sequence().find(many(8), 8)).toBe(0);
    text.clear();
    expect(pages.pools[0]!.idle).toBe(0);
  });
});

describe("layers with windows", () => {
  test("need what they still see of a text, and nothing before it", () => {
    const pages = cache({ windows: [FULL, 6], pages: [20, 5] });
    const text = pages.sequence();
    compute(text, many(24));
    const found = pages.sequence();
    // The windowed layer has let go of the pages before: its last tokens are there, those of the
    // middle are not.
    expect(found.find(many(24), 24)).toBe(24);
    expect(found.tables.map(({ entries }) => entries.map(({ first }) => first))).toEqual([
      [0, 4, 8, 12, 16, 20],
      [16, 20],
    ]);
    found.clear();
    text.clear();
    const other = pages.sequence();
    compute(other, many(4, 50));
    compute(other, many(12, 54)); // takes pages of the windowed layer, not of the other
    const shorter = pages.sequence();
    expect(shorter.find(many(12), 12)).toBe(0);
  });

  test("find pages that a window has let go", () => {
    const policy = attentionPolicy("sinks:2+6");
    const pages = cache({ pages: [20] });
    const text = pages.sequence(policy);
    compute(text, many(40));
    expect(pagesOf(text)[0]!.length).toBeLessThan(6);
    const found = pages.sequence(policy);
    expect(found.find(many(21), 20)).toBe(20); // far before the window of the first
    expect(found.entries.map(({ first }) => first)).toEqual([0, 12, 16]);
  });

  test("an endless text does not let the index grow without end", () => {
    const policy = attentionPolicy("window:8");
    const pages = cache({ pages: [8] });
    const text = pages.sequence(policy);
    for (let at = 0; at < FINDABLE_TOKENS + 100; at++) {
      text.append([at]);
      text.computed(1);
    }
    // Some of its last findable pages are still there, and lead back to its beginning.
    expect(pages.pools[0]!.idle).toBeGreaterThan(0);
    expect(pages.index!.nodes).toBeLessThanOrEqual(FINDABLE_TOKENS / P + 1);
    text.clear();
    pages.pools[0]!.allocate(8);
    expect(pages.index!.nodes).toBe(0);
  });
});

test("any texts, cut, forked, lost and taken up again, find what was computed for their own tokens", () => {
  const change = fc.record({
    do: fc.constantFrom("begin", "append", "append", "cut", "fork", "end", "lose"),
    text: fc.nat(5),
    ids: fc.array(fc.nat(1), { minLength: 1, maxLength: 9 }),
    keep: fc.nat(40),
  });
  const seen = { found: 0, copies: 0, full: 0, idle: 0 };
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 20, maxLength: 120 }),
      fc.constantFrom<number[]>([FULL], [FULL, 6], [9]),
      (changes, windows) => {
        const pages = cache({ windows, pages: windows.map(() => 14) });
        /** What a token is computed from: itself and all before it. By slot, in each group. */
        const content = windows.map(() => new Map<number, string>());
        const texts: Sequence[] = [];
        const check = (text: Sequence) => {
          for (const [group, { entries, policy }] of text.tables.entries()) {
            for (const { page, first } of entries) {
              for (let i = 0; i < P && first + i < text.length; i++) {
                const isSeen =
                  first + i < policy.sinks || text.length - (first + i) <= policy.window;
                if (!isSeen) continue;
                const before = text.ids.slice(0, first + i + 1).join();
                expect(content[group]!.get(page * P + i)).toBe(before);
              }
            }
          }
        };
        const append = (text: Sequence, ids: readonly number[]) => {
          try {
            for (let at = 0; at < ids.length; at += 5) {
              const tokens = ids.slice(at, at + 5);
              const start = text.length;
              const appended = text.append(tokens);
              for (const [group, { slots, copies }] of appended.entries()) {
                for (const { from, to } of copies) {
                  seen.copies++;
                  for (let i = 0; i < P; i++) {
                    content[group]!.set(to * P + i, content[group]!.get(from * P + i) ?? "");
                  }
                }
                for (const [i, slot] of slots.entries()) {
                  content[group]!.set(slot, text.ids.slice(0, start + i + 1).join());
                }
              }
              text.computed(tokens.length);
              check(text);
            }
          } catch (error) {
            expect(error).toBeInstanceOf(CapacityError);
            seen.full++;
            text.clear();
          }
        };
        for (const { do: verb, text: at, ids, keep } of changes) {
          const text = texts[at % Math.max(1, texts.length)];
          if (verb === "begin" && texts.length < 6) {
            const fresh = pages.sequence();
            const whole = [...ids, ...ids, ...ids];
            seen.found += fresh.find(whole, whole.length - 1);
            check(fresh);
            append(fresh, whole.slice(fresh.length));
            texts.push(fresh);
          } else if (verb === "append" && text) {
            append(text, ids);
          } else if (verb === "cut" && text) {
            text.truncate(Math.min(keep, text.length));
          } else if (verb === "fork" && text && texts.length < 6) {
            texts.push(text.fork());
          } else if (verb === "end" && text) {
            text.release();
            texts.splice(texts.indexOf(text), 1);
          } else if (verb === "lose" && keep < 8) {
            pages.lose();
            for (const map of content) map.clear();
            for (const each of texts) each.clear();
          }
          for (const each of texts) check(each);
        }
        for (const each of texts) each.release();
        expect(pages.used).toBe(0);
        if (pages.pools[0]!.idle > 0) seen.idle++;
        for (const pool of pages.pools) {
          const taken = pool.allocate(pool.size);
          expect(new Set(taken).size).toBe(pool.size);
        }
        expect(pages.index!.nodes).toBe(0);
      },
    ),
    { numRuns: 150, seed: 11 },
  );
  expect(seen.found).toBeGreaterThan(100);
  expect(seen.copies).toBeGreaterThan(80);
  expect(seen.full).toBeGreaterThan(20);
  expect(seen.idle).toBeGreaterThan(20);
}, 60_000);
