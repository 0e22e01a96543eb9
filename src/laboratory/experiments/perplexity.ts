// How well does a model predict a text? It is cut into chunks as long as the context, and each is
// scored.

import type { Engine } from "../../engine/engine.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { UserError } from "../../errors.ts";

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

/** Scores chunks one after the other. */
export async function scoreChunks(
  engine: Engine,
  chunks: readonly (readonly number[])[],
  { onLogits, onChunk, signal }: ScoringWatch = {},
): Promise<ScoredChunks> {
  const nll: number[] = [];
  const argmax: number[] = [];
  let tokens = 0;
  for (const [i, chunk] of chunks.entries()) {
    if (signal?.aborted) break;
    const score = await engine.score(chunk, onLogits);
    for (const value of score.nll) nll.push(value); // a long text has more than a call takes arguments
    for (const id of score.argmax) argmax.push(id);
    tokens += chunk.length;
    onChunk?.(i + 1, nll);
  }
  return { nll, argmax, tokens };
}
