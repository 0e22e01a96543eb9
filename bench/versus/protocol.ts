// What the benches against other engines ask of each, in a process of its own, and what they get back.

export interface Request {
  readonly model: string;
  /** Token ids, so that no tokenizer comes between the engines. */
  readonly prompt: readonly number[];
  /** So many tokens are generated, greedily. */
  readonly tokens: number;
  /** So many times; the first time warms up where there are several. */
  readonly repeats: number;
  /** Tokens of the prompt that are computed at a time. */
  readonly batch: number;
  /**
   * Where logits are wanted, after the timed part: after the prompt, and after each of these tokens but the last. The
   * first engine to be asked follows its own tokens.
   */
  readonly follow: readonly number[] | "own";
  /** So many rows of logits. */
  readonly wanted: number;
}

/** The text whose last `wanted` tokens have wanted logits behind them. */
export function checkedText(request: Request, ids: readonly number[]): number[] {
  const { prompt, follow, wanted } = request;
  return [...prompt, ...(follow === "own" ? ids : follow).slice(0, wanted - 1)];
}

/** Tokens of a context in which that all fits. */
export function contextOf({ prompt, tokens }: Request): number {
  return 512 * Math.ceil((prompt.length + tokens + 8) / 512);
}

export interface Reply {
  readonly device: string;
  readonly ids: readonly number[];
  /** Time to the first token, each time. */
  readonly prefillMs: readonly number[];
  /** Time of each token after the first, of the last time. */
  readonly tokenMs: readonly number[];
  /** [wanted, V] */
  readonly logits: readonly Float32Array[];
}

/** Takes the time of each step of each generation; all of them must give the same tokens. */
export async function timeTokens(
  { tokens, repeats }: Request,
  generate: () => Promise<AsyncGenerator<number, void, void>>,
): Promise<Pick<Reply, "ids" | "prefillMs" | "tokenMs">> {
  const prefillMs: number[] = [];
  let tokenMs: number[] = [];
  let ids: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) {
    const generation = await generate();
    const before = ids;
    ids = [];
    tokenMs = [];
    for (let i = 0; i < tokens; i++) {
      const began = performance.now();
      const { done, value } = await generation.next();
      if (done) throw new Error(`the generation ended after ${i} of ${tokens} tokens`);
      tokenMs.push(performance.now() - began);
      ids.push(value);
    }
    await generation.return();
    if (repeat > 0 && ids.join() !== before.join()) throw new Error("other tokens the second time");
    prefillMs.push(tokenMs.shift()!);
  }
  return { ids, prefillMs: repeats > 1 ? prefillMs.slice(1) : prefillMs, tokenMs };
}
