import { expect, test } from "vitest";
import { cacheGroups } from "../../src/engine/model/traits.ts";

const layers = (...windows: number[]) => windows.map((window) => ({ window }));

test("layers that see alike share a cache group", () => {
  expect(cacheGroups(layers(Infinity, Infinity, Infinity))).toEqual([
    { window: Infinity, layers: [0, 1, 2] },
  ]);
  // Gemma 3: five sliding layers, then a full one; the eighth layer begins again.
  expect(cacheGroups(layers(512, 512, 512, 512, 512, Infinity, 512, 512))).toEqual([
    { window: 512, layers: [0, 1, 2, 3, 4, 6, 7] },
    { window: Infinity, layers: [5] },
  ]);
  expect(cacheGroups(layers(Infinity, 4, 8, 4))).toEqual([
    { window: Infinity, layers: [0] },
    { window: 4, layers: [1, 3] },
    { window: 8, layers: [2] },
  ]);
  expect(cacheGroups([])).toEqual([]);
});
