// Requests that share a cache: each that has begun finds its pages to the end, whatever else runs; the others wait.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CachePages } from "../../src/context/cache/cache-pages.ts";
import { IdlePrefixes } from "../../src/context/cache/prefix-cache.ts";
import { attentionPolicy, FULL_ATTENTION } from "../../src/context/positions/attention-policy.ts";
import { Admission, pagesOf } from "../../src/engine/run/admission.ts";
import { CapacityError, UserError } from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { tinyModel } from "../support/tiny-model.ts";

const P = 4;
const tiny = tinyModel();
const GREEDY = { temperature: 0, ignoreEos: true };
const many = (count: number) => Array.from({ length: count }, (_, i) => 2 + (i % 20));

/** A queue over a pool of so many pages, without a GPU. */
function queue(size: number, limits = { sequences: 100, maxWaiting: 100 }) {
  const cache = new CachePages({
    groups: [{ layers: [0], window: Number.POSITIVE_INFINITY, pages: size }],
    policy: FULL_ATTENTION,
    context: size * P,
    pageSize: P,
    chunk: 12,
    movesBeyond: Number.POSITIVE_INFINITY,
  });
  const { pools } = cache;
  const admission = new Admission(pools, new IdlePrefixes(pools), limits);
  const sequence = (policy = FULL_ATTENTION) => cache.sequence(policy);
  const admit = (pages: number, signal?: AbortSignal) =>
    admission.admit({ ids: [], signal }, [pages], sequence, { own: () => [], take: sequence });
  return { pool: pools[0]!, admission, sequence, admit };
}

/** Whether a promise has settled when all that is ready has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  promise.then(
    () => (settled = true),
    () => (settled = true),
  );
  await new Promise((resolve) => setTimeout(resolve));
  return settled;
}

describe("the queue", () => {
  test("is first come, first served: a small request does not pass a large one", async () => {
    const { admit } = queue(10);
    const first = await admit(6);
    const [large, small] = [admit(8), admit(1)];
    expect(await isSettled(large)).toBe(false);
    expect(await isSettled(small)).toBe(false);
    first.release();
    (await large).append(many(8 * P)); // all that was promised is there
    await small;
  });

  test("an aborted wait holds nothing, and lets those behind it begin", async () => {
    const { admit, pool } = queue(10);
    const first = await admit(6);
    const controller = new AbortController();
    const [large, small] = [admit(8, controller.signal), admit(4)];
    controller.abort();
    expect((await large).tables[0]!.promised).toBe(0);
    expect((await small).tables[0]!.promised).toBe(4);
    first.release();
    expect(pool.availableTo()).toBe(6);
    expect((await admit(9, AbortSignal.abort())).tables[0]!.promised).toBe(0);
  });

  test("refuses what an empty cache could not hold, and a wait that nothing would end", async () => {
    const { admit, sequence, admission } = queue(10);
    await expect(admit(11)).rejects.toThrow(/needs 11 pages of the cache, which has 10/);
    const own = sequence();
    own.append(many(7 * P));
    await expect(admit(4)).rejects.toThrow(/cache is full.*4 pages are needed, 3 of 10 are free/);
    const first = await admit(3);
    const waiting = admit(4);
    expect(await isSettled(waiting)).toBe(false);
    own.clear();
    await waiting;
    first.release();
    const closed = admit(9);
    admission.close(new UserError("closed"));
    await expect(closed).rejects.toThrow("closed");
  });

  test("a sequence made by hand cannot take what is promised", async () => {
    const { admit, sequence } = queue(10);
    const first = await admit(6);
    expect(() => sequence().append(many(5 * P))).toThrow(CapacityError);
    first.append(many(6 * P));
  });

  test("whatever comes and goes, no step of an admitted text is refused, and all come to their end", async () => {
    const request = fc.record({
      prompt: fc.integer({ min: 1, max: 40 }),
      more: fc.integer({ min: 1, max: 60 }),
      chunk: fc.integer({ min: 1, max: 12 }),
      window: fc.option(fc.integer({ min: 1, max: 30 }), { nil: Number.POSITIVE_INFINITY }),
      sinks: fc.integer({ min: 0, max: 6 }),
      yields: fc.nat(3),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 12 }), async (requests) => {
        const { pool, admission, sequence: empty } = queue(26);
        let ended = 0;
        const run = async ({
          prompt,
          more,
          chunk,
          window,
          sinks,
          yields,
        }: (typeof requests)[0]) => {
          const isFull = window === Number.POSITIVE_INFINITY;
          const policy = isFull
            ? FULL_ATTENTION
            : attentionPolicy({ kind: "sinks", sinks, window });
          const ids = many(prompt);
          const asked = { ids, tokens: prompt + more };
          const pages = pagesOf(asked, policy, chunk, P);
          const sequence = () => empty(policy);
          const table = await admission.admit(asked, [pages], sequence, {
            own: () => [],
            take: sequence,
          });
          for (let at = 0; at < prompt; at += chunk)
            table.append(many(Math.min(chunk, prompt - at)));
          for (let i = 0; i < more; i++) {
            for (let j = 0; j < yields; j++) await undefined;
            table.append([1]);
            expect(table.entries.length).toBeLessThanOrEqual(pages);
          }
          table.release();
          ended++;
        };
        await Promise.all(requests.map(run));
        expect(ended).toBe(requests.length);
        expect(pool.free).toBe(26);
        expect(pool.claims).toBe(0);
      }),
      { numRuns: 60, seed: 1 },
    );
  });
});

describe("an engine", () => {
  test("gives what each request gives alone, of every kind, though one fits at a time", async () => {
    const engine = await loadEngine(tiny.bytes, { context: 64, pageSize: P, chunk: 16 });
    const ids = many(40);
    const options = { ...GREEDY, maxTokens: 20 };
    using prefixCache = engine.prefixCache();
    const kinds = [
      async () => (await engine.complete(ids, options)).tokens,
      async () => (await engine.score(ids)).nll.length,
      async () => [...(await engine.embed(ids))],
      async () => (await engine.complete(ids.slice(0, 9), { ...options, prefixCache })).tokens,
      async () =>
        (await engine.complete(ids, { ...options, attention: { kind: "window", window: 9 } }))
          .tokens,
      async () => {
        let rows = 0;
        for await (const _ of engine.attention(ids, { layer: 0 })) rows++;
        return rows;
      },
    ];
    const alone = [];
    for (const kind of kinds) alone.push(await kind());
    prefixCache.clear();
    const all = await Promise.all([...kinds, ...kinds].map((kind) => kind()));
    expect(all).toEqual([...alone, ...alone]);
    prefixCache.clear();
    expect(engine.usage.pages).toBe(0);
  });

  test("a request waits for a loop to be left, an error or the end, and not for a generator that never began", async () => {
    const engine = await loadEngine(tiny.bytes, { context: 64, pageSize: P, chunk: 16 });
    const idle = engine.generate(many(30), { ...GREEDY, maxTokens: 30 });
    const options = { ...GREEDY, maxTokens: 20 };
    for (const end of ["break", "throw"] as const) {
      let second: Promise<unknown> | undefined;
      const first = (async () => {
        for await (const _ of engine.generate(many(30), { ...GREEDY, maxTokens: 30 })) {
          second = engine.complete(many(20), options);
          expect(await isSettled(second)).toBe(false);
          if (end === "break") break;
          throw new Error("the user's own");
        }
      })();
      await first.catch((error: Error) => expect(error.message).toBe("the user's own"));
      await second;
    }
    await idle.return(undefined as never);
    expect(engine.usage.pages).toBe(0);
  });

  test("a request that waits hears its signal, and of the engine's end", async () => {
    const engine = await loadEngine(tiny.bytes, { context: 64, pageSize: P, chunk: 16 });
    const first = engine.generate(many(30), { ...GREEDY, maxTokens: 30 });
    await first.next();
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = engine.complete(many(20), { ...GREEDY, maxTokens: 20, signal });
    const vector = engine.embed(many(60), { signal });
    expect(await isSettled(waiting)).toBe(false);
    controller.abort();
    expect(await waiting).toMatchObject({ finishReason: "aborted", tokens: [] });
    await expect(vector).rejects.toThrow(/abort/i);
    const last = engine.score(many(60));
    expect(await isSettled(last)).toBe(false);
    const outcome = expect(last).rejects.toThrow(/closed/);
    await engine.close();
    await outcome;
  });

  test("a kept text gives way to a request that waits, not to one that goes on from it", async () => {
    const engine = await loadEngine(tiny.bytes, { context: 64, pageSize: P, chunk: 16 });
    using prefixCache = engine.prefixCache();
    const options = { ...GREEDY, maxTokens: 4 };
    await engine.complete(many(40), { ...options, prefixCache });
    const again = await engine.complete(many(60), { ...options, prefixCache });
    expect(again.usage.cachedTokens).toBe(40);
    await engine.complete(many(50), options);
    expect(prefixCache.ids).toEqual([]);
  });
});
