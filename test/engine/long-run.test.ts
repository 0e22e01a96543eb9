// Streams of 100,000 tokens, by what a user calls: in constant memory and time, and as good at their end as at their
// beginning.

import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { bytesSource } from "../../src/engine/gguf/source.ts";
import { openModel } from "../../src/engine/model/open.ts";
import type { Platform } from "../../src/engine/run/session.ts";
import { perplexity } from "../../src/engine/tasks/score.ts";
import { median } from "../../src/numbers.ts";
import { loadEngine, sharingPlatform, withMethods } from "../support/engine.ts";
import { fixtureModel } from "../support/models.ts";
import { tinyModel } from "../support/tiny-model.ts";

const TOKENS = 100_000;
const TENTH = TOKENS / 10;
/** Each takes a minute or less on two idle cores, and several where other tests run beside it. */
const TIMEOUT = 600_000;

const attention = { kind: "sinks", sinks: 4, window: 60 } as const;
const pageSize = 16;
/** The sinks' page, and five for a window that begins at the end of one. */
const PAGES = 1 + 5;

// There is no other way to ask for a collection from within.
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Bytes that the host holds: of objects, of arrays and what else they stand for outside the heap, in all. */
async function held() {
  // What arrays lie in is given back beside the program, some time after the arrays have been collected.
  for (let i = 0; i < 2; i++) {
    collectGarbage();
    await setTimeout(100);
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed, external, rss };
}

/** Of each tenth of a text. */
function perplexities(nll: readonly number[]): number[] {
  return Array.from({ length: 10 }, (_, i) => perplexity(nll.slice(i * TENTH, (i + 1) * TENTH)));
}

/** The tests' GPU, and how often something that stays was made on it: a buffer, a bind group, a pipeline. */
function countingPlatform() {
  let count = 0;
  const counted = <T extends unknown[], R>(make: (...args: T) => R) => {
    return (...args: T): R => {
      count++;
      return make(...args);
    };
  };
  const requestAdapter: Platform["requestAdapter"] = async (gpu) => {
    const adapter = await sharingPlatform.requestAdapter(gpu);
    const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
      const device = await adapter.requestDevice(descriptor);
      return withMethods(device, {
        createBuffer: counted(device.createBuffer.bind(device)),
        createBindGroup: counted(device.createBindGroup.bind(device)),
        createComputePipelineAsync: counted(device.createComputePipelineAsync.bind(device)),
      });
    };
    return withMethods(adapter, { requestDevice });
  };
  return { platform: { ...sharingPlatform, requestAdapter }, made: () => count };
}

test("no token takes more memory or time than those before it", { timeout: TIMEOUT }, async () => {
  // One layer: what could grow (pages, positions, the text, what its sampler knows) is not of the layers.
  const { bytes } = tinyModel({ seed: 2, width: 16, feedForward: 16, layers: 1 });
  const model = await openModel("tiny.gguf", async (path) => bytesSource(path, bytes));
  const { platform, made } = countingPlatform();
  const options = { attention, pageSize, chunk: 1, cacheTokens: 512 };
  await using engine = await Engine.open(platform, model, options);
  expect(made()).toBeGreaterThan(0);

  const generate = (maxTokens: number) =>
    engine.generate([2, 3, 4], { temperature: 1, seed: 1, ignoreEos: true, maxTokens });
  /** The next token of a text: how unlikely it was, in nats, and the milliseconds that it took. */
  const next = async (text: ReturnType<typeof generate>) => {
    const began = performance.now();
    const { done, value } = await text.next();
    if (done) throw new Error(`the text ended: ${value.finishReason}`);
    // Its probability is a share of those of all tokens: a NaN or an infinity among their logits makes it one.
    if (!Number.isFinite(value.logprob)) throw new Error(`a token of ${value.logprob} nats`);
    return { nll: -value.logprob, ms: performance.now() - began };
  };

  /** In a function of its own, so that nothing of the text outlives it. */
  const stream = async () => {
    const nll = new Float64Array(TOKENS);
    const text = generate(TOKENS);
    const start = { ...engine.usage, made: made() };
    let early = await held();
    for (let n = 0; n < TOKENS - TENTH; n++) {
      if (n === TENTH) early = await held();
      nll[n] = (await next(text)).nll;
      const now = { ...engine.usage, made: made() };
      const same =
        now.bytes === start.bytes && now.buffers === start.buffers && now.made === start.made;
      // By hand: hundreds of thousands of calls of `expect` would take longer than the tokens.
      if (!same || now.pages > PAGES) {
        expect.fail(`token ${n}: ${JSON.stringify(now)}, at the start ${JSON.stringify(start)}`);
      }
    }
    const late = await held();
    // The last tenth takes turns with the first tenth of another text, so that a machine that is busy with something else
    // is as slow for both. Medians, since some steps are interrupted and the first few see little.
    const young = generate(TENTH);
    const ms = { young: [] as number[], old: [] as number[] };
    for (let n = TOKENS - TENTH; n < TOKENS; n++) {
      ms.young.push((await next(young)).ms);
      const token = await next(text);
      ms.old.push(token.ms);
      nll[n] = token.nll;
    }
    await young.return(undefined as never);
    await text.return(undefined as never);
    const slowdown = median(ms.old) / median(ms.young);
    return { early, late, slowdown, tenths: perplexities(Array.from(nll)) };
  };

  for await (const _ of generate(2000)); // V8 compiles, Dawn takes its staging memory
  const before = await held();
  const { early, late, slowdown, tenths } = await stream();
  const after = await held();
  expect(slowdown).toBeLessThan(1.1);

  // What is held while a text lasts is its result: an id, a log-probability and a piece of text a token, 160 bytes.
  const tokens = TOKENS - 2 * TENTH;
  expect(late.heap - early.heap).toBeLessThan(tokens * 256);
  // Rows of logits lie there, of 140 bytes: not one in ten may stay.
  expect(late.external - early.external).toBeLessThan(tokens * 14);
  // Coarse, for V8 takes some 100 MB to keep those objects in, and gives them back when it likes.
  expect(late.rss - early.rss).toBeLessThan(tokens * 4096);
  // And then nothing: whatever a step might leave behind, on Dawn's side too, has an object of 24 bytes or more.
  expect(after.heap - before.heap).toBeLessThan(TOKENS * 16);

  // What it says is as likely to it as what it said at first; ten thousand drawn tokens leave two in a hundred to chance.
  for (const tenth of tenths) expect(Math.abs(tenth / tenths[0]! - 1)).toBeLessThan(0.1);
});

test("a text is read as well at its end as at its beginning", { timeout: TIMEOUT }, async () => {
  const file = fixtureModel("stories260K-F32.gguf");
  const engine = await loadEngine(file, { kv: "f32", attention, pageSize, chunk: 128 });
  const before = engine.usage;
  const stories = readFileSync(new URL("../fixtures/text/stories.txt", import.meta.url), "utf8");
  const [bos, ...tokens] = engine.tokenize(stories);
  expect(tokens.length).toBeGreaterThanOrEqual(TENTH);
  // Ten times the same. Five layers of 59 tokens back are all that a token is made of, sinks apart: in the second tenth
  // and all others the same tokens meet the same cache at other positions.
  const ids = [bos!, ...Array.from({ length: TOKENS }, (_, i) => tokens[i % TENTH]!)];
  const { nll } = await engine.score(ids, (position, logits) => {
    if (!logits.every(Number.isFinite)) expect.fail(`logits after token ${position}`);
  });
  expect(engine.usage).toMatchObject({ bytes: before.bytes, buffers: before.buffers, pages: 0 });
  let most = 0;
  for (let i = 2 * TENTH; i < TOKENS; i++) {
    most = Math.max(most, Math.abs(nll[i]! - nll[TENTH + (i % TENTH)]!));
  }
  // In nats: cos and sin of other positions are rounded to f32 otherwise, which makes 4e-5.
  expect(most).toBeLessThan(5e-4);
  // The first tenth has a beginning, and is else no different.
  const [first, second] = perplexities(nll);
  expect(Math.abs(first! / second! - 1)).toBeLessThan(0.01);
});
