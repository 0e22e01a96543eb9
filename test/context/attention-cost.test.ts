// Counts of keys against the rule of visibility itself, key by key.

import fc from "fast-check";
import { expect, test } from "vitest";
import {
  attentionOperations,
  tokenBytes,
  visibleKeys,
  visiblePairs,
} from "../../src/context/positions/attention-cost.ts";
import { FULL_ATTENTION, isVisible } from "../../src/context/positions/attention-policy.ts";

const policies = fc.oneof(
  fc.constant(FULL_ATTENTION),
  fc
    .record({ sinks: fc.nat(9), window: fc.integer({ min: 1, max: 20 }) })
    .map((policy) => ({ name: "some", ...policy })),
);

test("keys of a query, and pairs of a text, are those that the rule lets see each other", () => {
  fc.assert(
    fc.property(policies, fc.nat(40), (policy, length) => {
      let pairs = 0;
      for (let query = 0; query < length; query++) {
        const keys = Array.from({ length: query + 1 }, (_, key) => key);
        const seen = keys.filter((key) => isVisible(policy, key, query)).length;
        expect(visibleKeys(policy, query)).toBe(seen);
        pairs += seen;
      }
      expect(visiblePairs(policy, length)).toBe(pairs);
    }),
    { numRuns: 300 },
  );
});

test("costs of Llama 3.2 1B, counted by hand", () => {
  const shape = { layers: 16, heads: 32, kvHeads: 8, headWidth: 64 };
  // 2 (keys, values) x 8 heads x 64 numbers x 2 bytes x 16 layers: 32 KiB.
  expect(tokenBytes(shape, 2)).toBe(32768);
  // 2 (multiply, add) x 2 (keys, values) x 32 x 64 x 16 layers x 1000 keys
  expect(attentionOperations(shape, 1000)).toBe(131_072_000);
  expect(visiblePairs(FULL_ATTENTION, 1_000_000)).toBe(500_000_500_000);
});
