// Answers a question from an index: with as many of its windows as the budget of tokens has room
// for.

import { UserError } from "../../../errors.ts";
import {
  abortSignal,
  callback,
  having,
  instance,
  type Readers,
  splitOptions,
  text as textReader,
  whole,
} from "../../../option-reader.ts";
import { answerReserve } from "../answer-reserve.ts";
import { Generation } from "../running-text.ts";
import {
  RETRIEVE_READERS,
  type RetrieveOptions,
  type ScoredChunk,
  TextIndex,
} from "./text-index.ts";

/** The prompt for a question and its sources: a text, or token ids if it has special tokens. */
export type RetrievalPrompt = (
  question: string,
  sources: readonly ScoredChunk[],
) => string | readonly number[];

/** What is handed to an engine's `generate`, beside what the caller gives for it. */
export interface GeneratingOptions {
  readonly maxTokens?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** As much of an engine as answering takes. */
export interface AnsweringEngine {
  readonly setting: {
    readonly context: number;
    readonly policy: { readonly window: number };
    readonly stopsWhenFull: boolean;
  };
  tokenize(text: string, options?: { readonly addSpecial?: boolean }): readonly number[];
  /** A prompt that makes the model do what a text asks for. */
  promptFor(request: string): string | readonly number[];
  /** Pieces of text, and a record in the end: both are handed on as they are. */
  generate(
    prompt: string | readonly number[],
    options?: GeneratingOptions,
  ): AsyncGenerator<unknown, object, void>;
}

/** The options of an engine's `generate` that are the caller's. */
export type GenerateOptionsOf<E extends AnsweringEngine> = Omit<
  NonNullable<Parameters<E["generate"]>[1]>,
  "maxTokens" | "parseSpecial"
>;

/** An engine's pieces, and its result with the sources of the answer. */
export type AnswerOf<E extends AnsweringEngine> =
  ReturnType<E["generate"]> extends AsyncGenerator<infer P, infer R, void>
    ? Generation<P, R & Sources>
    : never;

export interface AnswerOptions extends RetrieveOptions {
  /** Tokens of prompt and answer together. Default: the engine's context. */
  readonly budget?: number | undefined;
  /**
   * The most tokens of the answer. All of them are kept free, unless the text stops or slides when
   * the context is full. Default: 256, or a quarter of the budget if that is less.
   */
  readonly maxTokens?: number | undefined;
  /**
   * Makes the prompt. Default: the numbered sources, then the question, as a request to the model.
   */
  readonly prompt?: RetrievalPrompt | undefined;
}

export const ANSWER_READERS = {
  ...RETRIEVE_READERS,
  budget: whole(1),
  maxTokens: whole(1),
  prompt: callback,
} satisfies Readers<AnswerOptions>;

/** A window that is part of the prompt. */
export interface Source extends ScoredChunk {
  /** Tokens of its text alone. */
  readonly tokens: number;
}

export interface Sources {
  /** The windows in the prompt, best first. */
  readonly sources: readonly Source[];
  /** Windows that were retrieved, but that the budget had no room for. */
  readonly leftOut: readonly ScoredChunk[];
}

/** A readable prompt of sources and a question. */
export const plainPrompt = (question: string, sources: readonly ScoredChunk[]): string => {
  const texts = sources.map(({ text }, i) => `[${i + 1}] ${text.trim()}\n`);
  return `${texts.join("")}\nQuestion: ${question}\nAnswer:`;
};

/**
 * Retrieves windows, puts as many of them before the question as the budget has room for (the best
 * first, whole; one that does not fit is passed over), and generates the answer. Pieces and result
 * are the engine's, with the sources added to the result. Throws a `UserError` at once if an
 * argument is wrong, and at the first piece if even the question alone does not fit.
 */
export function generateWithRetrieval<E extends AnsweringEngine>(
  engine: E,
  index: TextIndex,
  question: string,
  options: AnswerOptions & GenerateOptionsOf<E> = {} as GenerateOptionsOf<E>,
): AnswerOf<E> {
  having<AnsweringEngine>("an engine", "tokenize", "promptFor", "generate")(engine, "engine");
  instance(TextIndex, "a TextIndex")(index, "index");
  textReader(question, "question");
  const [own, rest] = splitOptions("generateWithRetrieval", options, ANSWER_READERS);
  const { k, mode, budget = engine.setting.context, prompt: chosen } = own;
  const prompt: RetrievalPrompt = chosen ?? ((...asked) => engine.promptFor(plainPrompt(...asked)));
  const { policy, stopsWhenFull } = engine.setting;
  const mustEnd = policy.window === Number.POSITIVE_INFINITY && !stopsWhenFull;
  const reserve = answerReserve(budget, own.maxTokens, mustEnd);
  const { maxTokens = reserve } = own;
  if (budget - reserve < 1) {
    throw new UserError(
      `A budget of ${budget} tokens with ${reserve} for the answer leaves no room for a question.`,
    );
  }
  const given = (rest as GeneratingOptions).signal;
  const answer = new Generation(given && abortSignal(given, "signal"), async function* (signal) {
    const found = await index.retrieve(question, { k, mode });
    const { sources, leftOut } = fitSources(engine, question, found, budget - reserve, prompt);
    const asked = { ...rest, maxTokens, signal };
    const result = yield* engine.generate(prompt(question, sources), asked);
    return { ...result, sources, leftOut };
  });
  return answer as AnswerOf<E>; // whose pieces and result are those of `engine.generate`
}

/**
 * Which of the windows found, best first, make a prompt of no more than `room` tokens, counted on
 * the whole prompt.
 */
function fitSources(
  engine: AnsweringEngine,
  question: string,
  found: readonly ScoredChunk[],
  room: number,
  prompt: RetrievalPrompt,
): Sources {
  const count = (sources: readonly ScoredChunk[]) => {
    const made = prompt(question, sources);
    return typeof made === "string" ? engine.tokenize(made).length : made.length;
  };
  const alone = count([]);
  if (alone > room) {
    throw new UserError(
      `The question takes ${alone} tokens in its prompt, of ${room} that the budget has beside the answer: ` +
        "shorten it, generate fewer tokens, or load with a larger context.",
    );
  }
  const sources: Source[] = [];
  const leftOut: ScoredChunk[] = [];
  for (const chunk of found) {
    if (count([...sources, chunk]) > room) leftOut.push(chunk);
    else {
      const tokens = engine.tokenize(chunk.text, { addSpecial: false }).length;
      sources.push({ ...chunk, tokens });
    }
  }
  return { sources, leftOut };
}
