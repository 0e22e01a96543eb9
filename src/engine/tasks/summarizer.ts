// Summaries by the model itself: it continues a text and an instruction.

import type { Generation } from "../../context/text/running-text.ts";
import {
  DEFAULT_FAN_IN,
  SUMMARY_READERS,
  type SummaryOptions,
  type SummaryTree,
  summarize,
  summaryShare,
} from "../../context/text/summaries.ts";
import type { Summarizer } from "../../context/text/summarizer.ts";
import { truncate } from "../../context/text/truncation.ts";
import type { TextSource } from "../../context/text/windows.ts";
import { UserError } from "../../errors.ts";
import {
  callback,
  having,
  type Readers,
  readOptions,
  text as textReader,
  whole,
} from "../../option-reader.ts";
import { requestPrompt } from "../chat/request-prompt.ts";
import {
  GENERATE_READERS,
  type GenerateOptions,
  samplingOf,
} from "../generation/generation-request.ts";
import type { GenerationResult, Piece } from "../generation/generation-result.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import { resolveSampling } from "../sampler/sampling-options.ts";

export interface EngineSummarizerOptions
  extends Omit<GenerateOptions, "maxTokens" | "signal" | "answers" | "beams" | "lengthPenalty"> {
  /**
   * The prompt for a text. Default: `instructionBehind()`. It is put into the file's chat template,
   * if there is one.
   */
  readonly prompt?: ((text: string) => string) | undefined;
}

const {
  maxTokens: _m,
  signal: _s,
  answers: _a,
  beams: _b,
  lengthPenalty: _l,
  ...sampledReaders
} = GENERATE_READERS;

export const SUMMARIZER_READERS = {
  ...sampledReaders,
  prompt: callback,
} satisfies Readers<EngineSummarizerOptions>;

/** A prompt: the text, then an instruction. */
export function instructionBehind(
  instruction = "A short summary of the text above:",
): (text: string) => string {
  textReader(instruction, "instruction");
  return (text) => `${text}\n\n${instruction}`;
}

/** What summarising needs of an engine. */
export interface GeneratingModel extends OpenedModel {
  generate(
    prompt: string | readonly number[],
    options: GenerateOptions,
  ): Generation<Piece, GenerationResult>;
}

/**
 * Summarises by continuing a prompt, greedily by default, so that the same text gives the same
 * summary. A text that is too long for the context is cut in its middle.
 */
export function engineSummarizer(
  engine: GeneratingModel,
  given: EngineSummarizerOptions = {},
): Summarizer {
  having<GeneratingModel>("an engine", "generate")(engine, "engine");
  const read = readOptions("engineSummarizer", given, SUMMARIZER_READERS);
  const { prompt = instructionBehind(), ...options } = read;
  resolveSampling(samplingOf(options), engine.config.vocabulary); // throws now, not after hours
  return async (text, { maxTokens, signal }) => {
    const sampling = { temperature: 0, seed: 0, ...options };
    const budget = Math.max(1, roomFor(engine, prompt) - maxTokens);
    const { text: shown } = truncate(text, engine.tokenizer, { budget, strategy: "middle" });
    const request = requestPrompt(engine, prompt(shown));
    const result = await engine.generate(request, { ...sampling, maxTokens, signal }).result;
    signal?.throwIfAborted();
    return result.text.trim();
  };
}

/**
 * As for `summarize`. By default the model is the summarizer, and its context sets the size of
 * windows.
 */
export interface EngineSummaryOptions
  extends Omit<SummaryOptions, "size" | "summarizer">,
    EngineSummarizerOptions {
  /** Tokens of a window. Default: what the context has room for beside the prompt and a summary. */
  readonly size?: number | undefined;
  /** Default: the model. */
  readonly summarizer?: Summarizer | undefined;
}

export const ENGINE_SUMMARY_READERS = {
  ...SUMMARIZER_READERS,
  ...SUMMARY_READERS,
  size: whole(1),
  summarizer: callback,
} satisfies Readers<EngineSummaryOptions>;

/** See `Engine.summarize`. */
export async function summarizeBy(
  engine: GeneratingModel,
  document: TextSource,
  given: EngineSummaryOptions,
): Promise<SummaryTree> {
  const options = readOptions("summarize", given, ENGINE_SUMMARY_READERS);
  const { overlap, budget, fanIn, signal, onNode, summarizer, size: _, ...own } = options;
  return summarize(document, engine.tokenizer, {
    ...{ overlap, budget, fanIn, signal, onNode },
    size: summaryWindow(engine, options),
    summarizer: summarizer ?? engineSummarizer(engine, own),
  });
}

/** Spare tokens: a window may get a few more when its text is tokenized again within the prompt. */
const MARGIN = 16;

/**
 * Tokens of a window: as given, or as many as leave room for the prompt and a summary. Throws a
 * `UserError` if the model is the summarizer and has too little room for a window and its summary.
 */
export function summaryWindow(
  model: OpenedModel,
  {
    size,
    budget,
    fanIn = DEFAULT_FAN_IN,
    prompt = instructionBehind(),
    summarizer,
  }: EngineSummaryOptions,
): number {
  const room = roomFor(model, prompt);
  const largest = room - Math.min(budget, Math.ceil(room / (fanIn + 1)));
  if (summarizer === undefined && largest < 1) {
    throw new UserError(
      `A context of ${model.setting.context} tokens has no room for a text to summarise and its summary beside the prompt: load with a larger one.`,
    );
  }
  const chosen = size ?? largest;
  const share = summaryShare({ size: chosen, budget, fanIn });
  if (summarizer === undefined && chosen + share > room) {
    throw new UserError(
      `A window of ${chosen} tokens and its summary of ${share} do not fit the ${room} tokens that a context leaves beside the prompt: ` +
        `expected a window of at most ${largest}.`,
    );
  }
  return chosen;
}

/** Tokens that a text and its summary may have together, beside the prompt. */
function roomFor(model: OpenedModel, prompt: (text: string) => string): number {
  const { tokenizer, setting } = model;
  // Under attention that forgets the text is unlimited, but the model sees only sinks and window.
  const { sinks, window } = setting.policy;
  const reach = Math.min(setting.context, sinks + window);
  const request = requestPrompt(model, prompt(""));
  const ids = typeof request === "string" ? tokenizer.encode(request) : request;
  return reach - ids.length - MARGIN;
}
