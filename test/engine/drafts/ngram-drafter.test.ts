// What a text had before, against a plain search of the whole text; and how long drafts are.

import fc from "fast-check";
import { expect, test } from "vitest";
import { DraftLength } from "../../../src/engine/drafts/draft-length.ts";
import { NgramDrafter } from "../../../src/engine/drafts/ngram-drafter.ts";

/** The latest place before the end that has the last `n` tokens of a text before it. */
function search(text: readonly number[], n: number): number | undefined {
  if (text.length < n) return undefined;
  for (let at = text.length - 1; at >= n; at--) {
    let isSame = true;
    for (let i = 1; i <= n; i++) isSame &&= text[at - i] === text[text.length - i];
    if (isSame) return at;
  }
  return undefined;
}

/** The same drafts by searching: `least` is the shortest end that counts. */
function searched(text: readonly number[], most: number, least: number): number[] {
  const places = [3, 2].filter((n) => n >= least).map((n) => search(text, n));
  const from = places.find((place) => place !== undefined);
  if (from === undefined) return [];
  const grown = [...text];
  for (let i = 0; i < most; i++) grown.push(grown[from + i]!);
  return grown.slice(text.length);
}

test("drafts are those of a search through the whole text", async () => {
  let drafted = 0;
  const ids = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 30, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(ids, fc.integer({ min: 1, max: 15 }), async (all, most) => {
      const drafter = new NgramDrafter();
      let least = 3;
      let last: { at: number; ids: readonly number[] } | undefined;
      for (let length = 0; length <= all.length; length += 1 + (length % 3)) {
        const text = all.slice(0, length);
        const found = await drafter.propose(text, most);
        if (last) {
          const wrong = last.ids.findIndex((id, i) => id !== text[last!.at + i]);
          if (wrong < 0) least = 2;
          else if (2 * wrong < last.ids.length) least = 3;
        }
        expect(found).toEqual(searched(text, most, least));
        last = found.length > 0 ? { at: length, ids: found } : undefined;
        if (last) drafted++;
      }
    }),
    { numRuns: 300, seed: 5 },
  );
  expect(drafted).toBeGreaterThan(1000);
});

test("a text that goes round in a circle is drafted beyond its end", async () => {
  expect(await new NgramDrafter().propose([1, 2, 3, 1, 2, 3], 7)).toEqual([1, 2, 3, 1, 2, 3, 1]);
  expect(await new NgramDrafter().propose([9, 9, 9, 9], 5)).toEqual([9, 9, 9, 9, 9]);
});

test("the latest place counts, and the longest end before it", async () => {
  const text = [1, 2, 3, 7, 1, 2, 3, 8, 2, 3, 5, 1, 2, 3];
  expect(await new NgramDrafter().propose(text, 1), "after 1 2 3 came 8 last").toEqual([8]);
  expect(await new NgramDrafter().propose([2, 3, 5, 6, 2, 3], 1), "two are too few").toEqual([]);
});

test("after a draft that was right two tokens are enough, until one is wrong", async () => {
  const drafter = new NgramDrafter();
  const text = [5, 6, 7, 8, 1, 6, 2, 5, 6, 7];
  expect(await drafter.propose(text, 1)).toEqual([8]);
  text.push(8, 6, 2);
  expect(await drafter.propose(text, 1), "6 2 was followed by 5").toEqual([5]);
  text.push(0, 7, 8);
  expect(await drafter.propose(text, 1), "7 8 was followed by 6 last").toEqual([]);
});

test("drafts grow while they are right, shrink if half is, and rest after misses", () => {
  const length = new DraftLength(15);
  const steps: number[] = [];
  const take = (share: number) => {
    const drafted = length.take();
    steps.push(drafted);
    if (drafted > 0) length.tell(drafted, Math.floor(share * drafted));
  };
  for (const share of [1, 1, 1, 1]) take(share);
  expect(steps.splice(0)).toEqual([3, 7, 15, 15]);
  for (const share of [0.6, 0.6, 0.6, 0.6]) take(share);
  expect(steps.splice(0), "3 is half right with 1: a miss").toEqual([15, 7, 3, 0]);
  for (let i = 0; i < 90; i++) take(0);
  const rests = steps
    .splice(0)
    .join("")
    .split("3")
    .map(({ length }) => length);
  expect(rests.slice(0, 6)).toEqual([0, 2, 4, 8, 16, 32]);
  while (steps.at(-1) !== 3) take(1);
  take(1);
  expect(steps.at(-1), "a draft that is right ends the rests").toBe(7);
});

test("drafts keep to the most that is asked for", () => {
  for (const most of [1, 2, 5]) {
    const length = new DraftLength(most);
    for (let i = 0; i < 5; i++) {
      const drafted = length.take();
      expect(drafted).toBeLessThanOrEqual(most);
      length.tell(drafted, drafted);
    }
    expect(length.take()).toBe(most);
  }
});
