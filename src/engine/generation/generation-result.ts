// What a generation gives: pieces of text, and a result at the end.

import type { LoadedModel } from "../run/loaded-model.ts";
import type { TokenChoice, TokenLogprob } from "../sampler/sampler.ts";
import type { StopStrings } from "../sampler/stop-strings.ts";
import type { DecodeOptions, TokenDecoder } from "../tokenizer/decoder.ts";
import type { Vocabulary } from "../tokenizer/vocabulary.ts";
import type { PreparedGeneration } from "./generation-request.ts";
import type { TokenUsage } from "./token-usage.ts";

/** A generated token and the text that it completes, which may be empty. */
export interface Piece extends TokenChoice {
  readonly text: string;
  /** Which answer it is of, if several were asked for. */
  readonly index?: number;
}

export type FinishReason = "eos" | "stop" | "length" | "aborted";

export interface GenerationResult {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly logprobs: readonly {
    readonly logprob: number;
    readonly top?: readonly TokenLogprob[];
  }[];
  readonly finishReason: FinishReason;
  /** The stop string that ended the text. */
  readonly stopped: string | undefined;
  readonly usage: TokenUsage;
  readonly seed: number;
  /** Of a text of beam search: the sum of its log-probabilities over length^lengthPenalty. */
  readonly score?: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** All answers, this one the first, if several were asked for; of beam search, the best first. */
  readonly answers?: readonly GenerationResult[];
}

/**
 * The text of the tokens so far. What may be the beginning of a stop string, or of a character, is
 * held back.
 */
export class Answer {
  text = "";
  readonly logprobs: GenerationResult["logprobs"][number][] = [];
  /** The stop string that ended the text. */
  stopped: string | undefined;
  readonly #vocabulary: Vocabulary;
  readonly #decoder: TokenDecoder;
  readonly #stops: StopStrings;
  #last: TokenChoice | undefined;

  constructor({ tokenizer }: LoadedModel, { stops }: PreparedGeneration, decoding: DecodeOptions) {
    this.#vocabulary = tokenizer.vocabulary;
    this.#decoder = tokenizer.decoder(decoding);
    this.#stops = stops();
  }

  /** The pieces of a text that is known, up to a stop string. */
  *all(choices: readonly TokenChoice[]): Generator<Piece, void, void> {
    for (const choice of choices) {
      yield this.push(choice);
      if (this.stopped !== undefined) return;
    }
    const rest = this.flush();
    if (rest) yield rest;
  }

  push(choice: TokenChoice): Piece {
    const { id, ...logprob } = choice;
    this.logprobs.push(logprob);
    this.#last = choice;
    const out = this.#vocabulary.isHidden(id)
      ? this.#stops.pushControl(this.#vocabulary.text(id))
      : this.#stops.push(this.#decoder.push(id));
    this.text += out.text;
    this.stopped = out.stopped;
    return { ...choice, text: out.text };
  }

  /** The text still held back at the end, with the last token; undefined if there is none. */
  flush(): Piece | undefined {
    if (this.stopped !== undefined) return undefined;
    const text = this.#stops.push(this.#decoder.flush()).text + this.#stops.flush();
    this.text += text;
    return this.#last && text !== "" ? { ...this.#last, text } : undefined;
  }
}
