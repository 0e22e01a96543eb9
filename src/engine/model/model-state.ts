import type { PageTable } from "../../context/cache/page-table.ts";
import type { AttentionPolicy } from "../../context/positions/attention-policy.ts";
import type { Setting } from "../options.ts";
import type { TextRequest } from "../run/admission.ts";
import type { AttentionProbe } from "../run/attention-probe.ts";
import type { Draw, TokenLogprob, TopLogits } from "../sampler/sampler.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ModelConfig } from "./config.ts";

/** What decides whether a request can be served: known from the header of a file, before anything is loaded. */
export interface OpenedModel {
  readonly config: ModelConfig;
  readonly setting: Setting;
  readonly tokenizer: Tokenizer;
}

/** What a request is served with. */
export interface LoadedModel extends OpenedModel {
  /**
   * A sequence for a request, when there are pages for all of it: they are reserved until `release()`. Empty where its signal is raised meanwhile. Throws a `CapacityError` where waiting is of no use.
   */
  admit(request: TextRequest): Promise<PageTable>;
  /**
   * An empty sequence in the cache, under the engine's policy or one of its own; `clear()` gives its pages back. None are
   * reserved for it: its steps throw a `CapacityError` where the cache is full.
   */
  sequence(policy?: AttentionPolicy): PageTable;
  /**
   * Takes tokens back, so that a sequence ends behind these, with which it began; false where it cannot, since it has
   * forgotten too much.
   */
  truncate(sequence: PageTable, tokens: readonly number[]): boolean;
  /** The most tokens that the next step of a sequence may take. */
  stepLimit(sequence: PageTable): number;
  /**
   * The tokens after `first`, chosen on the GPU: it is appended to a sequence, and then each of them, at most `budget`. Steps
   * are submitted ahead of what has been asked for: whoever leaves early has a sequence to be cleared, nothing else.
   */
  chosen(
    sequence: PageTable,
    draw: Draw,
    first: number,
    budget: number,
  ): AsyncGenerator<TokenLogprob, void, void>;
  /**
   * Appends tokens to a sequence, at most `stepLimit(sequence)` of them, and hands `use` the `keep` likeliest tokens after
   * the last, or a few more. Returns what it makes of them, or else the logits [V].
   */
  top<R>(
    sequence: PageTable,
    tokens: readonly number[],
    keep: number,
    use: (top: TopLogits) => R | undefined,
  ): Promise<R | Float32Array>;
  /**
   * Appends tokens to a sequence, at most `stepLimit(sequence)` of them, and returns the logits [wanted, V] after the last
   * `wanted`. Steps run one at a time, in the order of the calls. A probe watches the step.
   */
  step(
    sequence: PageTable,
    tokens: readonly number[],
    wanted: number,
    probe?: AttentionProbe,
  ): Promise<Float32Array>;
}
