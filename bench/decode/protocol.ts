// What the decode bench asks of an engine, each in a process of its own, and what it gets back.

export interface DecodeRequest {
  readonly model: string;
  /** Token ids, so that no tokenizer comes between the engines. */
  readonly prompt: readonly number[];
  /** So many tokens are generated, greedily. */
  readonly tokens: number;
  /**
   * Where logits are wanted, after the timed part: after the prompt, and after each of these tokens but the last. The
   * first engine to be asked follows its own tokens.
   */
  readonly follow: readonly number[] | "own";
  /** So many rows of logits. */
  readonly wanted: number;
}

/** The text whose last `wanted` tokens have wanted logits behind them. */
export function checkedText(request: DecodeRequest, ids: readonly number[]): number[] {
  const { prompt, follow, wanted } = request;
  return [...prompt, ...(follow === "own" ? ids : follow).slice(0, wanted - 1)];
}

export interface DecodeReply {
  readonly device: string;
  readonly loadMs: number;
  /** Time to the first token. */
  readonly prefillMs: number;
  readonly ids: readonly number[];
  /** Time of each token after the first. */
  readonly tokenMs: readonly number[];
  /** [wanted, V] */
  readonly logits: readonly Float32Array[];
}

/** Takes the time of each step of a generation. */
export async function timeTokens(
  count: number,
  generation: AsyncIterator<unknown>,
): Promise<{ prefillMs: number; tokenMs: number[] }> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    const { done } = await generation.next();
    if (done) throw new Error(`the generation ended after ${i} of ${count} tokens`);
    times.push(performance.now() - began);
  }
  const [prefillMs = 0, ...tokenMs] = times;
  return { prefillMs, tokenMs };
}
