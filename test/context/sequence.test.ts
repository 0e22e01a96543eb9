// A text in the cache: its ids are its own, whatever happens to its pages.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CachePages } from "../../src/context/cache/cache-pages.ts";
import { partsOf } from "../../src/context/cache/sequence.ts";
import { FULL_ATTENTION } from "../../src/context/positions/attention-policy.ts";
import { CapacityError } from "../../src/index.ts";

const P = 4;

/** A cache whose even layers see all and whose odd ones see the last eight tokens. */
function cache({ full = 8, windowed = 5, movesBeyond = Number.POSITIVE_INFINITY } = {}) {
  return new CachePages({
    groups: [
      { layers: [0, 2], window: Number.POSITIVE_INFINITY, pages: full },
      { layers: [1, 3], window: 8, pages: windowed },
    ],
    policy: FULL_ATTENTION,
    context: full * P,
    pageSize: P,
    chunk: 6,
    movesBeyond,
  });
}

const many = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

describe("a sequence", () => {
  test("has a page table a group, each with what its layers see", () => {
    const pages = cache();
    const sequence = pages.sequence();
    for (const { tokens } of partsOf(many(20), () => sequence.stepLimit)) sequence.append(tokens);
    const held = sequence.tables.map(({ entries }) => entries.map(({ first }) => first));
    expect(held).toEqual([
      [0, 4, 8, 12, 16],
      [8, 12, 16], // from position 18 on, a token of the last step, 11 to 18 are seen
    ]);
    expect(sequence.entries).toBe(sequence.tables[0]!.entries);
    expect(pages.used).toBe(8);
    sequence.clear();
    expect(pages.used).toBe(0);
  });

  test("takes nothing from any pool if one of them has too little", () => {
    const pages = cache({ full: 3 });
    const sequence = pages.sequence();
    sequence.append(many(6));
    sequence.append(many(6, 6));
    const before = sequence.tables.map(({ entries }) => [...entries]);
    expect(() => sequence.append(many(6, 12))).toThrow(CapacityError);
    expect(sequence.tables.map(({ entries }) => [...entries])).toEqual(before);
    expect(sequence.ids).toEqual(many(12));
    expect(sequence.length).toBe(12);
  });

  test("ends where it is truncated, unless a layer has forgotten what is seen there", () => {
    const sequence = cache().sequence();
    for (const { tokens } of partsOf(many(24), () => sequence.stepLimit)) sequence.append(tokens);
    expect(sequence.truncate(25)).toBe(false);
    expect(sequence.truncate(12)).toBe(false); // the windowed layers have forgotten 4 to 7
    expect(sequence.length).toBe(24);
    expect(sequence.truncate(20)).toBe(true);
    expect(sequence.ids).toEqual(many(20));
    sequence.append([77]);
    expect(sequence.ids).toEqual([...many(20), 77]);
  });

  test("learns the token that the GPU chooses, but not if it has become another text meanwhile", async () => {
    const sequence = cache().sequence();
    sequence.append([1, 2]);
    const chosen = Promise.resolve(3);
    sequence.append(chosen);
    expect(sequence.length).toBe(3);
    expect(sequence.ids).toEqual([1, 2]);
    await chosen;
    expect(sequence.ids).toEqual([1, 2, 3]);

    const late = Promise.resolve(4);
    sequence.append(late);
    expect(sequence.truncate(4)).toBe(false); // it is not known what the fourth is
    expect(sequence.truncate(2)).toBe(true);
    await late;
    expect(sequence.ids).toEqual([1, 2]);
    sequence.append(Promise.reject(new Error("lost")));
    await undefined;
    expect(sequence.ids).toEqual([1, 2]);
  });

  test("takes no known token while the one before is on its way, and stays as it was", async () => {
    const sequence = cache().sequence();
    sequence.append([1]);
    sequence.append(Promise.resolve(2));
    expect(() => sequence.append([3])).toThrow(/not known yet/);
    expect(sequence.length).toBe(2);
    await sequence.settled();
    sequence.append([3]);
    expect(sequence.ids).toEqual([1, 2, 3]);
  });

  test("tells each page that is forgotten once, also if the text is computed again or telling throws", () => {
    const pages = cache();
    const sequence = pages.sequence({ name: "window:8", sinks: 0, window: 8 });
    const told: number[] = [];
    let fails = true;
    sequence.onEvict = (evicted) => {
      told.push(...evicted.map(({ first }) => first));
      if (fails) throw new Error("the caller's own");
    };
    const feed = (ids: readonly number[]) => {
      for (const { tokens } of partsOf(ids, () => sequence.stepLimit)) {
        sequence.append(tokens);
        if (fails) {
          try {
            sequence.tellEvicted();
          } catch {
            fails = false;
          }
        } else sequence.tellEvicted();
      }
    };
    feed(many(20));
    expect(told).toEqual([0, 4]);
    pages.lose();
    sequence.discard();
    feed(sequence.ids);
    expect(told).toEqual([0, 4]);
    expect(sequence.ids).toEqual(many(20));
  });

  test("is computed again from its own ids when its pages are lost", () => {
    const pages = cache();
    const [sequence, fresh] = [pages.sequence(), pages.sequence()];
    sequence.append(many(6));
    sequence.append(many(3, 6));
    expect(sequence.isLost).toBe(false);
    pages.lose();
    expect([sequence.isLost, fresh.isLost]).toEqual([true, false]);
    sequence.discard();
    expect(pages.used).toBe(0);
    expect(sequence.ids).toEqual(many(9));
    sequence.append(many(6));
    expect(sequence.isLost).toBe(true); // three are still missing
    expect(() => sequence.append([99])).toThrow(/not computed again/);
    sequence.discard();
    sequence.append(many(6));
    sequence.append(many(3, 6));
    expect(sequence.isLost).toBe(false);
    expect(sequence.ids).toEqual(many(9));
  });

  test("takes one token a step once rotations move with its length", () => {
    const sequence = cache({ movesBeyond: 8 }).sequence();
    const sizes = [...partsOf(many(11), () => sequence.stepLimit)].map(({ tokens }) => {
      sequence.append(tokens);
      return tokens.length;
    });
    expect(sizes[0]).toBe(6);
  });

  test("holds the ids of its text through whatever is done with it", () => {
    const change = fc.oneof(
      fc.record({ append: fc.array(fc.nat(99), { minLength: 1, maxLength: 6 }) }),
      fc.record({ takeBack: fc.nat(9) }),
      fc.record({ lose: fc.constant(true) }),
      fc.record({ clear: fc.constant(true) }),
    );
    let done = { truncated: 0, replayed: 0 };
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const pages = cache({ full: 30, windowed: 6 });
        const sequence = pages.sequence();
        let text: number[] = [];
        for (const step of changes) {
          if ("append" in step && text.length + step.append.length <= 30 * P) {
            if (sequence.isLost) {
              sequence.discard();
              for (const { tokens } of partsOf(sequence.ids, () => sequence.stepLimit)) {
                sequence.append(tokens);
              }
              done = { ...done, replayed: done.replayed + 1 };
            }
            sequence.append(step.append);
            text.push(...step.append);
          } else if (
            "takeBack" in step &&
            step.takeBack <= text.length &&
            sequence.truncate(text.length - step.takeBack)
          ) {
            text = text.slice(0, text.length - step.takeBack);
            done = { ...done, truncated: done.truncated + 1 };
          } else if ("lose" in step) {
            pages.lose();
          } else if ("clear" in step) {
            sequence.clear();
            text = [];
          }
          expect(sequence.ids).toEqual(text);
          if (!sequence.isLost) expect(sequence.length).toBe(text.length);
        }
        sequence.release();
        expect(pages.used).toBe(0);
      }),
      { seed: 5, numRuns: 700 },
    );
    expect(done.truncated).toBeGreaterThan(50);
    expect(done.replayed).toBeGreaterThan(50);
  });
});

describe("a fork", () => {
  test("shares all pages, and the first to write to the last one copies it", () => {
    const pages = cache({ windowed: 8 });
    const text = pages.sequence();
    text.append(many(6));
    text.append(many(4, 6));
    const fork = text.fork();
    expect([fork.ids, fork.length, fork.isLost]).toEqual([many(10), 10, false]);
    const held = (sequence: typeof text) =>
      sequence.tables.map(({ entries }) => entries.map(({ page }) => page));
    const before = held(text);
    expect(held(fork)).toEqual(before);
    expect(pages.used).toBe(6);

    const written = fork.append([8, 9]);
    for (const [group, { slots, copies }] of written.entries()) {
      const own = held(fork)[group]!;
      expect(copies).toEqual([{ from: before[group]![2], to: own[2] }]);
      expect([...slots]).toEqual([own[2]! * P + 2, own[2]! * P + 3]);
      expect(own.slice(0, 2)).toEqual(before[group]!.slice(0, 2));
    }
    // The other is alone on its last page now.
    const [first] = text.append([99]);
    expect(first!.copies).toEqual([]);
    expect(held(text)).toEqual(before);
    text.clear();
    expect(fork.ids).toEqual([...many(10), 8, 9]);
    fork.clear();
    expect(pages.used).toBe(0);
  });

  test("that is cut within a shared page copies it before it writes there", () => {
    const pages = cache({ windowed: 8 });
    const text = pages.sequence();
    text.append(many(6));
    text.append(many(2, 6));
    const fork = text.fork();
    expect(fork.truncate(6)).toBe(true);
    expect([fork.ids, fork.length]).toEqual([many(6), 6]);
    const second = text.tables[0]!.entries[1]!.page;
    const [written] = fork.append([4, 5]);
    expect(written!.copies.map(({ from }) => from)).toEqual([second]);
    expect([...written!.slots].map((slot) => Math.floor(slot / P))).not.toContain(second);
    text.clear();
    fork.clear();
    expect(pages.used).toBe(0);
  });

  test("finds the page for its copy reserved, whatever others were promised", () => {
    const pages = cache({ full: 8, windowed: 20 });
    const text = pages.sequence();
    text.append(many(6));
    text.reserve([3, 3]);
    const fork = text.fork();
    fork.reserve([3, 3]); // its first page is shared, the second one copied: two to take
    expect(pages.pools[0]!.availableTo()).toBe(8 - 2 - 2 - 2);
    const other = pages.sequence();
    other.append(many(6));
    expect(pages.pools[0]!.availableTo()).toBe(0);
    expect(() => other.append(many(3))).toThrow(CapacityError);
    fork.append(many(6));
    text.append(many(6));
    expect(pages.pools[0]!.free).toBe(1); // promised to both, since either might have copied first
  });

  test("of a text whose device was lost has its tokens, and no pages", () => {
    const pages = cache();
    const text = pages.sequence();
    text.append(many(5));
    pages.lose();
    const fork = text.fork();
    expect([fork.ids, fork.length]).toEqual([many(5), 0]);
  });
});
