// How well does a model predict a text? It is cut into chunks as long as the context, and each is
// scored.

import type { Engine } from "../../engine/engine.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { type EngineOptions, resolveSetting } from "../../engine/options.ts";
import { UserError } from "../../errors.ts";
import { FEW } from "../../kernels/adapter/target.ts";
import { roomOf } from "./together.ts";

/** Tokens of a step that short chunks share: more at a time are not faster. */
const SHARED_STEP = 256;

export interface ScoredChunks {
  /**
   * Of each token but the first of a chunk, its surprise in nats, and the likeliest in its place.
   */
  readonly nll: readonly number[];
  readonly argmax: readonly number[];
  /** Tokens of the chunks that were scored. */
  readonly tokens: number;
}

interface ScoringWatch {
  /** Gets the logits [V] at each position of a chunk. */
  readonly onLogits?:
    | ((position: number, logits: Float32Array) => void | Promise<void>)
    | undefined;
  /** Hears after each chunk how many are done, and the surprises so far. */
  readonly onChunk?: ((done: number, nll: readonly number[]) => void) | undefined;
  /** A raised one ends the scoring between two chunks. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Cuts a text into chunks as long as the context, at most `most`, each with the model's BOS in
 * front. Throws a `UserError` if it is too short for one, or the context is.
 */
export function chunksOf(
  { tokenizer, setting }: OpenedModel,
  text: string,
  most = Number.POSITIVE_INFINITY,
): number[][] {
  const { bos, addBos } = tokenizer.vocabulary;
  const front = addBos && bos !== undefined ? [bos] : [];
  const ids = tokenizer.encode(text, { addSpecial: false });
  const body = setting.context - front.length;
  if (body < 1) throw new UserError(`A context of ${setting.context} leaves no room for text.`);
  const chunks: number[][] = [];
  for (let at = 0; at + 1 < ids.length && chunks.length < most; at += body) {
    chunks.push([...front, ...ids.slice(at, at + body)]);
  }
  if (chunks.length === 0)
    throw new UserError(`The text has ${ids.length} tokens: too few to score.`);
  return chunks;
}

/**
 * Options with which chunks as long as the context share steps, if a step has room for several.
 */
export function forChunks(config: ModelConfig, given: EngineOptions): EngineOptions {
  const { context, cache, requests } = resolveSetting(config, given);
  const count = Math.min(requests.sequences, Math.floor(SHARED_STEP / context));
  if (count < 2) return given;
  const { chunk = SHARED_STEP } = given;
  const { cacheTokens = roomOf(count, context, cache.shape.pageSize).cacheTokens } = given;
  return { ...given, chunk, cacheTokens };
}

/**
 * Chunks by what is scored at the same time: as many of one length as a step has room for. Those of
 * a few tokens go alone, since other shaders sum their rows.
 */
function* groupsOf(
  { setting }: OpenedModel,
  chunks: readonly (readonly number[])[],
): Generator<readonly (readonly number[])[]> {
  for (let i = 0; i < chunks.length; ) {
    const { length } = chunks[i]!;
    const most = length <= FEW ? 1 : Math.max(1, Math.floor(setting.chunk / length));
    let end = i + 1;
    while (end < Math.min(chunks.length, i + most) && chunks[end]!.length === length) end++;
    yield chunks.slice(i, end);
    i = end;
  }
}

/** Scores chunks in order; short ones share steps, unless their logits are wanted. */
export async function scoreChunks(
  engine: Engine,
  chunks: readonly (readonly number[])[],
  { onLogits, onChunk, signal }: ScoringWatch = {},
): Promise<ScoredChunks> {
  const nll: number[] = [];
  const argmax: number[] = [];
  let tokens = 0;
  let done = 0;
  // Logits come in the order of the text.
  const groups = onLogits ? chunks.map((chunk) => [chunk]) : groupsOf(engine, chunks);
  for (const group of groups) {
    if (signal?.aborted) break;
    const scores = await Promise.all(group.map((chunk) => engine.score(chunk, onLogits)));
    for (const [i, score] of scores.entries()) {
      for (const value of score.nll) nll.push(value); // a long text has more than a call takes arguments
      for (const id of score.argmax) argmax.push(id);
      tokens += group[i]!.length;
      onChunk?.(++done, nll);
    }
  }
  return { nll, argmax, tokens };
}
