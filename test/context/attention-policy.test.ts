import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type AttentionPolicy,
  attentionPolicy,
  FULL_ATTENTION,
  isForgotten,
  isVisible,
  pagesNeeded,
  parseAttention,
  sinkPosition,
  withSlidingWindow,
} from "../../src/context/positions/attention-policy.ts";
import { UserError } from "../../src/errors.ts";

const sinksAndWindow = fc
  .record({ sinks: fc.nat(20), window: fc.integer({ min: 1, max: 30 }) })
  .map(({ sinks, window }) => attentionPolicy({ kind: "sinks", sinks, window }));
const anyPolicy = fc.oneof(
  { weight: 1, arbitrary: fc.constant(FULL_ATTENTION) },
  { weight: 5, arbitrary: sinksAndWindow },
);

describe("what a user may write", () => {
  test.each([
    ["full", { kind: "full" }],
    ["window:1", { kind: "window", window: 1 }],
    ["window:1024", { kind: "window", window: 1024 }],
    ["sinks:4+1020", { kind: "sinks", sinks: 4, window: 1020 }],
    ["sinks:0+1", { kind: "sinks", sinks: 0, window: 1 }],
  ] as const)("%s", (text, options) => {
    expect(parseAttention(text)).toEqual(options);
    expect(attentionPolicy(parseAttention(text)).name).toBe(text);
  });

  test.each([
    "",
    "Full",
    " full",
    "full ",
    "window",
    "window:",
    "window:-1",
    "window:1.5",
    "window:1e3",
    "window:4+4",
    "sinks",
    "sinks:4",
    "sinks:4+",
    "sinks:+4",
    "sinks:-4+8",
    "sinks:4+8+2",
    "sinks:4 + 8",
    "streaming:4+8",
  ])("not %j", (text) => {
    const read = () => parseAttention(text);
    expect(read).toThrow(UserError);
    expect(read).toThrow(`Invalid attention "${text}": expected full, window:W or sinks:S+W`);
  });

  test.each([
    { kind: "window", window: 0 },
    { kind: "window", window: -1 },
    { kind: "window", window: 2.5 },
    { kind: "window", window: Number.NaN },
    { kind: "window", window: Number.POSITIVE_INFINITY },
    { kind: "window", window: 2 ** 53 },
    { kind: "sinks", sinks: -1, window: 4 },
    { kind: "sinks", sinks: 0.5, window: 4 },
    { kind: "sinks", sinks: Number.NaN, window: 4 },
    { kind: "sinks", sinks: 4, window: 0 },
  ] as const)("numbers that make no sense: %j", (options) => {
    const read = () => attentionPolicy(options);
    expect(read).toThrow(UserError);
    expect(read).toThrow(/^Invalid attention \{ kind: .* W >= 1 and S >= 0/);
  });

  test("window:0 is read, and refused for its number", () => {
    expect(() => attentionPolicy(parseAttention("window:0"))).toThrow(UserError);
  });

  test("full attention has no sinks and no end", () => {
    const { sinks, window } = attentionPolicy({ kind: "full" });
    expect({ sinks, window }).toEqual({ sinks: 0, window: Number.POSITIVE_INFINITY });
  });
});

describe("a model's own sliding window", () => {
  test.each([
    ["full", Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    ["full", 4096, 4096],
    ["window:100", 4096, 100],
    ["window:5000", 4096, 4096],
    ["window:4096", 4096, 4096],
    ["sinks:4+5000", 4096, 4096],
    // Longer than the context: nothing is hidden of a text that ends with it; one that goes on is another matter.
    ["full", 8193, Number.POSITIVE_INFINITY],
    ["full", 8192, 8192],
    ["window:9000", 8193, 8193],
    ["sinks:4+9000", 8193, 8193],
  ])("%s under %s, with a context of 8192", (text, model, window) => {
    const own = attentionPolicy(parseAttention(text));
    const policy = withSlidingWindow(own, model, 8192);
    expect(policy).toEqual({ name: own.name, sinks: own.sinks, window });
  });
});

describe("visibility", () => {
  test("of a plain window counts the query itself", () => {
    const policy = attentionPolicy({ kind: "window", window: 3 });
    const seen = [0, 1, 2, 3, 4, 5, 6].filter((key) => isVisible(policy, key, 5));
    expect(seen).toEqual([3, 4, 5]);
  });

  test("of sinks and window", () => {
    const policy = attentionPolicy({ kind: "sinks", sinks: 2, window: 3 });
    const seen = (query: number) =>
      [...Array(9).keys()].filter((key) => isVisible(policy, key, query));
    expect(seen(0)).toEqual([0]);
    expect(seen(4)).toEqual([0, 1, 2, 3, 4]);
    expect(seen(5)).toEqual([0, 1, 3, 4, 5]);
    expect(seen(8)).toEqual([0, 1, 6, 7, 8]);
  });

  test("counts min(t + 1, S + W) keys, all of them before the query", () => {
    fc.assert(
      fc.property(anyPolicy, fc.nat(120), (policy, query) => {
        const seen = [...Array(200).keys()].filter((key) => isVisible(policy, key, query));
        expect(seen.length).toBe(Math.min(query + 1, policy.sinks + policy.window));
        expect(seen.at(-1)).toBe(query);
      }),
    );
  });

  test("isForgotten is what no later query sees", () => {
    fc.assert(
      fc.property(anyPolicy, fc.nat(60), fc.nat(20), fc.nat(120), (policy, first, more, oldest) => {
        const last = first + more;
        let seen = false;
        // From W past the last position on, nothing changes any more.
        for (let query = oldest; query < 300; query++) {
          for (let key = first; key <= last; key++) {
            seen ||= key >= query || isVisible(policy, key, query); // not written yet counts as seen
          }
        }
        expect(isForgotten(policy, first, last, oldest)).toBe(!seen);
      }),
    );
  });
});

describe("the position before the sinks", () => {
  test("is the query's rank among what it sees: a cache index, as StreamingLLM counts", () => {
    fc.assert(
      fc.property(anyPolicy, fc.nat(150), (policy, query) => {
        const seen = [...Array(query + 1).keys()].filter((key) => isVisible(policy, key, query));
        expect(sinkPosition(policy, query)).toBe(seen.length - 1);
      }),
    );
  });
});

describe("pagesNeeded", () => {
  /** The most pages ever held: before each chunk, pages that nobody will see are freed. */
  function held(policy: AttentionPolicy, context: number, chunk: number, P: number): number {
    let most = 0;
    let pages: number[] = [];
    for (let start = 0; start < context; start += chunk) {
      const end = Math.min(context, start + chunk);
      pages = pages.filter((page) => !isForgotten(policy, page * P, page * P + P - 1, start));
      for (let page = Math.ceil(start / P); page * P < end; page++) pages.push(page);
      most = Math.max(most, pages.length);
    }
    return most;
  }

  test("is enough for every text, chunk and page size", () => {
    fc.assert(
      fc.property(
        anyPolicy,
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 20 }),
        (policy, context, chunk, P) => {
          expect(held(policy, context, chunk, P)).toBeLessThanOrEqual(
            pagesNeeded(policy, context, chunk, P),
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  test("is what queries see while decoding", () => {
    fc.assert(
      fc.property(sinksAndWindow, fc.integer({ min: 1, max: 20 }), (policy, P) => {
        const { sinks: S, window: W } = policy;
        const promised = Math.ceil(S / P) + Math.ceil((W - 1) / P) + 1;
        expect(held(policy, 300, 1, P)).toBeLessThanOrEqual(promised);
        expect(pagesNeeded(policy, 300, 1, P)).toBe(Math.ceil(S / P) + Math.ceil(W / P) + 1);
      }),
    );
  });

  test("of full attention is exact", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 64 }),
        (context, P) => {
          expect(pagesNeeded(FULL_ATTENTION, context, 7, P)).toBe(
            held(FULL_ATTENTION, context, 7, P),
          );
        },
      ),
    );
  });
});
