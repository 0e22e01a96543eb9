// How fast is a whole model, at which position, and which kernels take the time? What was computed
// while it was timed is checked: computed again another way, it must be the same.

import { partsOf } from "../../context/cache/sequence.ts";
import type { Engine } from "../../engine/engine.ts";
import { chosenTokens } from "../../engine/generation/chosen-tokens.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { LAST_LOGITS, NOTHING } from "../../engine/run/step.ts";
import { checkFits } from "../../engine/tasks/checks.ts";
import { prefill } from "../../engine/tasks/prefill.ts";
import type { PhaseProfile } from "../../kernels/gpu/profiler.ts";
import { argmax, median, nmse } from "../../numbers.ts";
import type { Watch } from "../watch.ts";

/** The cost of a token at one position, or in a prompt of one length. */
export interface Speed {
  /** Position of the first token that is decoded, or length of the prompt. */
  readonly at: number;
  readonly msPerToken: number;
  /** Of the host a step, waiting left out. */
  readonly hostMs: number;
  readonly samples: readonly number[];
  readonly tokensPerSecond: number;
  /** Of a step. */
  readonly dispatches: number;
  /** Bytes of weights that decoding reads, by time. */
  readonly weightGigabytesPerSecond?: number;
  readonly profile: readonly PhaseProfile[];
}

/** Tokens decoded before any is timed, and tokens whose kernels are timed one by one. */
const WARM_UP = 4;
const PROFILED = 8;

const GREEDY = { temperature: 0, seed: 0 };

/** Tokens that timing `tokens` tokens decodes at a place. */
export function moreThanPlace(tokens: number): number {
  return WARM_UP + tokens + PROFILED;
}

/**
 * Positions to time decoding at: those that are `asked` for, or the usual ones that have room for
 * `tokens` more. Throws a `UserError` if one that is asked for, or no usual one, has.
 */
export function decodingPlaces(
  model: OpenedModel,
  tokens: number,
  asked?: readonly number[],
): readonly number[] {
  return placesThatFit(model, [128, 512, 2048], moreThanPlace(tokens), asked);
}

/** Lengths to time prompts of, as `decodingPlaces`. */
export function promptPlaces(model: OpenedModel, asked?: readonly number[]): readonly number[] {
  return placesThatFit(model, [32, 128, 512], 0, asked);
}

function placesThatFit(
  model: OpenedModel,
  usual: readonly number[],
  more: number,
  asked: readonly number[] | undefined,
): readonly number[] {
  const check = (at: number) => checkFits(model, model.setting.policy, at + more);
  if (asked) {
    for (const at of asked) check(at);
    return asked;
  }
  const places = usual.filter((at) => succeeds(() => check(at)));
  if (places.length === 0) check(usual[0]!);
  return places;
}

function succeeds(check: () => void): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}

/** Times `tokens` tokens at each place. Throws an `Error` if they are not the likeliest ones. */
export function decodingSpeeds(
  engine: Engine,
  places: readonly number[],
  tokens: number,
  watch: Watch = {},
): Promise<Speed[]> {
  return speeds(engine, "decode", places, (at) => timeDecoding(engine, at, tokens), watch);
}

/** Times a prompt of each length `rounds` times. Throws an `Error` if its logits are wrong. */
export function promptSpeeds(
  engine: Engine,
  lengths: readonly number[],
  rounds: number,
  watch: Watch = {},
): Promise<Speed[]> {
  return speeds(engine, "prefill", lengths, (at) => timePrompt(engine, at, rounds), watch);
}

async function speeds(
  engine: Engine,
  phase: "decode" | "prefill",
  places: readonly number[],
  time: (at: number) => Promise<Timed>,
  { onProgress, signal }: Watch,
): Promise<Speed[]> {
  engine.profiler.stop(); // each place is profiled by itself, after what is timed there
  onProgress?.(0, places.length);
  const measured: Speed[] = [];
  for (const at of places) {
    if (signal?.aborted) break;
    const { profile, ...timed } = await time(at);
    const { msPerToken } = timed;
    const gigabytes = engine.loaded.stepBytes / msPerToken / 1e6;
    measured.push({
      ...timed,
      tokensPerSecond: 1000 / msPerToken,
      dispatches: dispatchesIn(phase, profile),
      ...(phase === "decode" ? { weightGigabytesPerSecond: gigabytes } : {}),
      profile,
    });
    onProgress?.(measured.length, places.length);
  }
  return measured;
}

function dispatchesIn(phase: string, profile: readonly PhaseProfile[]): number {
  return profile
    .filter((one) => one.phase === phase)
    .reduce(
      (sum, { steps, kernels }) => sum + kernels.reduce((n, k) => n + k.dispatches, 0) / steps,
      0,
    );
}

/** What is measured of a speed; the rest follows from it. */
type Timed = Pick<Speed, "at" | "msPerToken" | "hostMs" | "samples" | "profile">;

/** Ids that spread over the vocabulary: what they are does not matter to a kernel. */
function someText(engine: Engine, length: number): number[] {
  const { vocabulary: V } = engine.config;
  return Array.from({ length }, (_, i) => (1 + i * 7919) % V);
}

async function timeDecoding(engine: Engine, at: number, tokens: number): Promise<Timed> {
  const ids = someText(engine, at + 1);
  const sequence = engine.sequence();
  try {
    await prefill(engine, sequence, ids.slice(0, -1), LAST_LOGITS);
    const samples: number[] = [];
    const host: number[] = [];
    let [time, spent] = [performance.now(), engine.usage.hostMs];
    const { stepsAhead: ahead } = engine.loaded;
    const run = { draw: GREEDY, first: ids.at(-1)!, budget: WARM_UP + tokens, ahead };
    for await (const { id } of chosenTokens(engine, sequence, run)) {
      const [now, used] = [performance.now(), engine.usage.hostMs];
      samples.push(now - time);
      host.push(used - spent);
      [time, spent] = [now, used];
      ids.push(id);
    }
    const last = ids.pop()!;
    sequence.clear();
    expectLikely(await prefill(engine, sequence, ids, LAST_LOGITS), last);
    engine.profiler.start();
    const profiled = { draw: GREEDY, first: last, budget: PROFILED, ahead };
    for await (const _ of chosenTokens(engine, sequence, profiled));
    const profile = await engine.profiler.report();
    engine.profiler.stop();
    return {
      at,
      msPerToken: median(samples.slice(WARM_UP)),
      hostMs: median(host.slice(WARM_UP)),
      samples: samples.slice(WARM_UP),
      profile,
    };
  } finally {
    sequence.clear();
  }
}

/**
 * A token that was decoded must be the likeliest of a prompt, too, but for what another order of
 * sums makes of it.
 */
function expectLikely(logits: Float32Array, id: number): void {
  const best = logits.reduce((a, b) => Math.max(a, b));
  const rms = Math.sqrt(logits.reduce((sum, x) => sum + x * x, 0) / logits.length);
  if (best - logits[id]! <= 1e-2 * rms) return;
  throw new Error(`decoding gave token ${id}, which is not the likeliest: the times mean nothing`);
}

async function timePrompt(engine: Engine, at: number, rounds: number): Promise<Timed> {
  const ids = someText(engine, at);
  const sequence = engine.sequence();
  try {
    const expected = await inPieces(engine, ids);
    const samples: number[] = [];
    const host: number[] = [];
    const likeliest = new Set<number>();
    for (let round = 0; round <= rounds; round++) {
      const [began, spent] = [performance.now(), engine.usage.hostMs];
      const logits = await prefill(engine, sequence, ids, LAST_LOGITS);
      if (round > 0) samples.push(performance.now() - began); // the first may have to compile
      host.push(engine.usage.hostMs - spent);
      if (round === 0) expectSame(logits, expected);
      likeliest.add(argmax(logits));
      sequence.clear();
    }
    if (likeliest.size > 1) throw new Error("a prompt has another next token in another round");
    engine.profiler.start();
    await prefill(engine, sequence, ids, LAST_LOGITS);
    const profile = await engine.profiler.report();
    engine.profiler.stop();
    return { at, msPerToken: median(samples) / at, hostMs: median(host), samples, profile };
  } finally {
    sequence.clear();
  }
}

/**
 * The logits after a prompt that is computed in another number of pieces, many of a few tokens for
 * a short one: tiles end elsewhere, and keys come from pages.
 */
async function inPieces(engine: Engine, ids: readonly number[]): Promise<Float32Array> {
  const sequence = engine.sequence();
  try {
    const most = () => Math.max(1, Math.min(sequence.stepLimit - 1, Math.ceil(ids.length / 27)));
    for (const { tokens, isLast } of partsOf(ids, most)) {
      if (isLast) return await engine.run({ sequence, tokens, wanted: LAST_LOGITS });
      await engine.run({ sequence, tokens, wanted: NOTHING });
    }
    throw new Error("a prompt has at least one token");
  } finally {
    sequence.clear();
  }
}

/**
 * Keys and values are rounded, and a rounding may fall to the other side, by an eighth in q4_0:
 * hence no less than 1e-4.
 */
function expectSame(found: Float32Array, expected: Float32Array): void {
  const error = nmse(found, expected);
  if (error <= 1e-4) return;
  throw new Error(`a prompt in pieces has other logits (NMSE ${error})`);
}
