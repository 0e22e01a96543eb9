// Windows cover a text, overlap as asked, and hold no more of it than they need. The oracle for tokens is `encode`.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import {
  mapWindows,
  type TextSource,
  type TextWindow,
  type WindowOptions,
  windows,
} from "../../../src/context/text/windows.ts";
import { createTokenizer } from "../../../src/engine/tokenizer/tokenizer.ts";
import { UserError } from "../../../src/errors.ts";
import { SHIPPED_MODEL } from "../../../src/platform/node.ts";
import { FIXTURES, fixtureMetadata, shippedMetadata } from "../../engine/tokenizer/vocabularies.ts";
import { ensureBuilt } from "../../support/build.ts";
import { gather, textInParts } from "../../support/texts.ts";

const VOCABULARIES = [
  ...FIXTURES.map((name) => [name, () => fixtureMetadata(name)] as const),
  ["the shipped model", shippedMetadata] as const,
];

describe.each(VOCABULARIES)("with the tokenizer of %s", async (_, metadata) => {
  const tokenizer = createTokenizer(await metadata());

  test("400 texts: every token is covered, in order; sizes and overlaps are what was asked", async () => {
    const sizes = fc
      .integer({ min: 1, max: 40 })
      .chain((size) => fc.record({ size: fc.constant(size), overlap: fc.nat({ max: size - 1 }) }));
    await fc.assert(
      fc.asyncProperty(textInParts, sizes, async ({ text, parts }, options) => {
        const ids = tokenizer.encode(text, { addSpecial: false });
        fc.pre(ids.length > 0);
        const whole = text.replace(/\p{Surrogate}/gu, "\ufffd");
        const found = await gather(windows(parts, tokenizer, options));
        checkWindows(found, ids, whole, options);
        expect(await gather(windows(text, tokenizer, options))).toEqual(found);
      }),
      { numRuns: 400 },
    );
  });
});

function checkWindows(
  found: readonly TextWindow[],
  ids: readonly number[],
  text: string,
  { size, overlap = 0 }: WindowOptions,
): void {
  const step = size - overlap;
  // As many as it takes for the last one to reach the end.
  const count = Math.max(1, Math.ceil((ids.length - overlap) / step));
  expect(found.map(({ index }) => index)).toEqual(Array.from({ length: count }, (_, i) => i));
  for (const [i, window] of found.entries()) {
    const isLast = i === count - 1;
    const start = isLast ? Math.max(0, ids.length - size) : i * step;
    expect([window.start, window.end]).toEqual([start, Math.min(start + size, ids.length)]);
    expect(window.ids).toEqual(ids.slice(window.start, window.end));
    expect(window.text).toBe(text.slice(window.textStart, window.textEnd));
    expect(window.text).not.toMatch(/^[\udc00-\udfff]|[\ud800-\udbff]$/);
    const before = found[i - 1];
    if (before === undefined) continue;
    const shared = before.end - window.start;
    if (isLast) expect(shared).toBeGreaterThanOrEqual(overlap);
    else expect(shared).toBe(overlap);
    expect(window.textStart).toBeLessThanOrEqual(before.textEnd);
  }
  expect([found[0]!.textStart, found.at(-1)!.textEnd]).toEqual([0, text.length]);
  expect(found.at(-1)!.end).toBe(ids.length);
}

describe("by the shipped tokenizer", async () => {
  const tokenizer = createTokenizer(await shippedMetadata());
  const collect = (document: TextSource, options: WindowOptions) =>
    gather(windows(document, tokenizer, options));

  test("a character of four tokens belongs to the window in which it ends", async () => {
    const ids = tokenizer.encode("a🙂b", { addSpecial: false });
    expect(ids.length).toBe(6); // with the space in front of the text
    const found = await collect("a🙂b", { size: 3 });
    expect(found.map(({ text }) => text)).toEqual(["a", "🙂b"]);
  });

  test("bad sizes and an empty document are a line each", async () => {
    for (const [options, message] of [
      [{ size: 0 }, /^Invalid size 0: expected a whole number of at least 1\.$/],
      [{ size: 2.5 }, /Invalid size 2.5/],
      [{ size: 8, overlap: 8 }, /^Windows of 8 tokens cannot overlap by 8: .* from 0 to 7\.$/],
      [{ size: 8, overlap: 9 }, /cannot overlap by 9/],
      [{ size: 8, overlap: -1 }, /Invalid overlap -1/],
      [{ size: 8, overlap: 0.5 }, /Invalid overlap 0.5/],
    ] as const) {
      // At once, before anything is read.
      expect(() => windows("text", tokenizer, options)).toThrow(UserError);
      expect(() => windows("text", tokenizer, options)).toThrow(message);
    }
    for (const empty of ["", [], ["", ""]]) {
      await expect(collect(empty, { size: 8 })).rejects.toThrow(UserError);
      await expect(collect(empty, { size: 8 })).rejects.toThrow(/^The document is empty/);
    }
    await expect(
      mapWindows("a", tokenizer, { size: 1 }, () => 1, { concurrency: 0 }),
    ).rejects.toThrow(/^Invalid concurrency 0/);
  });

  /** Far more sentences than are needed, and how many of them have been read. */
  function manySentences() {
    const state = { read: 0, isClosed: false };
    async function* sentences() {
      try {
        while (state.read < 3000) yield `Sentence ${state.read++} of many. `;
      } finally {
        state.isClosed = true;
      }
    }
    return { state, sentences: sentences() };
  }
  const pause = () => new Promise((resolve) => setTimeout(resolve, 2));

  test("results come in order, however many windows are in work; combine makes one of them", async () => {
    const text = "One day, a little girl named Lily found a needle in her room. ".repeat(20);
    const options = { size: 32, overlap: 8 };
    const expected = (await collect(text, options)).map(({ text }) => text.length);
    for (const concurrency of [1, 3]) {
      let running = 0;
      let most = 0;
      const work = async ({ index, text }: TextWindow) => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, index % 3));
        running--;
        return text.length;
      };
      const each = await mapWindows(text, tokenizer, options, work, { concurrency });
      expect(each).toEqual(expected);
      expect(most).toBe(concurrency);
    }
    const sum = await mapWindows(text, tokenizer, options, ({ text }) => text.length, {
      combine: async (lengths) => lengths.reduce((a, b) => a + b, 0),
    });
    expect(sum).toBe(expected.reduce((a, b) => a + b, 0));
  });

  test("a long text is read no further than the windows in work take, and closed by an error", async () => {
    const { state, sentences } = manySentences();
    let seen = 0;
    let last = 0;
    const running = new Set<number>();
    const work = async ({ index, ids }: TextWindow) => {
      running.add(index);
      last = Math.max(last, index);
      seen += ids.length;
      await pause();
      running.delete(index);
      if (index === 5) throw new RangeError("enough");
    };
    const result = mapWindows(sentences, tokenizer, { size: 64 }, work, { concurrency: 2 });
    await expect(result).rejects.toThrow(new RangeError("enough"));
    expect(running.size).toBe(0);
    expect(last).toBeLessThanOrEqual(6); // in work when the fifth failed
    expect(state.isClosed).toBe(true);
    // A sentence has at least 10 tokens; one window may lie ready, and one sentence be held back.
    expect(state.read * 10).toBeLessThanOrEqual(seen + 64 + 20);
  });

  test("a signal ends the work before the next window", async () => {
    const { state, sentences } = manySentences();
    const controller = new AbortController();
    let last = 0;
    const work = ({ index }: TextWindow) => {
      last = index;
      if (index === 3) controller.abort();
    };
    const { signal } = controller;
    const result = mapWindows(sentences, tokenizer, { size: 64 }, work, { signal });
    await expect(result).rejects.toMatchObject({ name: "AbortError" });
    expect(last).toBe(3);
    expect(state.isClosed).toBe(true);
  });
});

describe("a text of 100 MB", () => {
  beforeAll(ensureBuilt);

  test("is read window by window in less than 200 MB, Node and the tokenizer among it", async () => {
    const script = fileURLToPath(new URL("../../support/window-stream.mjs", import.meta.url));
    const args = [script, SHIPPED_MODEL, "100000000", "512", "64"];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const found = JSON.parse(stdout) as Record<string, number>;
    // That windows follow each other and overlap was checked there.
    expect(found).toMatchObject({ bytes: 100_000_000, length: 100_000_000 });
    expect(found.windows).toBe(Math.ceil((found.tokens! - 64) / (512 - 64)));
    expect(found.peak).toBeLessThan(200e6);
    expect(found.peak! - found.baseline!).toBeLessThan(120e6);
  }, 300_000);
});
