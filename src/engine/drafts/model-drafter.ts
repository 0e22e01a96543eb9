// Drafts by a smaller model, which computes the same text in a sequence of its own.

import { commonPrefix } from "../../context/cache/prefix-cache.ts";
import type { Sequence } from "../../context/cache/sequence.ts";
import type { Draw } from "../../kernels/choice/choice.ts";
import { CapacityError } from "../../kernels/gpu/device.ts";
import { chosenTokens } from "../generation/chosen-tokens.ts";
import { NOTHING } from "../run/step.ts";
import { prefill } from "../tasks/prefill.ts";
import type { DraftEngine } from "./draft-option.ts";
import type { Drafter } from "./drafter.ts";

/** Drafts that are left out when there was no room in the cache. */
const LEFT_OUT = 32;

/** Guesses what a smaller model would go on with. */
export class ModelDrafter implements Drafter {
  readonly #engine: DraftEngine;
  readonly #draw: Draw;
  readonly #signal: AbortSignal;
  readonly #sequence: Sequence;
  /** The text position at which its sequence begins: it may lack the beginning of a long text. */
  #from = 0;
  /** Drafts to leave out. */
  #leftOut = 0;

  /**
   * Tokens are drawn by `draw`, with the noise of the text itself: if two models agree on the
   * probabilities, they draw the same tokens.
   */
  constructor(engine: DraftEngine, draw: Draw, signal: AbortSignal) {
    this.#engine = engine;
    this.#draw = draw;
    this.#signal = signal;
    this.#sequence = engine.sequence();
  }

  /** None if its cache has no room for the text. */
  async propose(text: readonly number[], most: number): Promise<readonly number[]> {
    if (this.#leftOut > 0) {
      this.#leftOut--;
      return [];
    }
    try {
      return await this.#continue(text, most);
    } catch (error) {
      if (!(error instanceof CapacityError)) throw error;
      this.#sequence.clear();
      this.#leftOut = LEFT_OUT;
      return [];
    }
  }

  release(): void {
    this.#sequence.release();
  }

  async #continue(text: readonly number[], most: number): Promise<number[]> {
    const sequence = this.#sequence;
    const budget = Math.min(most, this.#room);
    this.#goBack(text, budget);
    let first = text.slice(this.#from + sequence.ids.length);
    if (first.length > sequence.stepLimit) {
      await prefill(this.#engine, sequence, first.slice(0, -1), NOTHING, this.#signal);
      first = first.slice(-1);
    }
    const drafted: number[] = [];
    if (this.#signal.aborted) return drafted;
    const { stepsAhead: ahead } = this.#engine.loaded;
    const run = { draw: this.#draw, first, budget, ahead, signal: this.#signal };
    for await (const { id } of chosenTokens(this.#engine, sequence, run)) drafted.push(id);
    return drafted;
  }

  /** Cuts the sequence to what it has in common with the text, or has it begin anew. */
  #goBack(text: readonly number[], budget: number): void {
    const sequence = this.#sequence;
    const { context } = this.#engine.setting;
    // The last token is computed again if it is there: the next one comes out of it.
    const own = this.#from === 0 ? text : text.slice(this.#from);
    const common = Math.min(commonPrefix(sequence.ids, own), own.length - 1);
    const fits = !this.#isBounded || own.length + budget <= context;
    if (fits && sequence.truncate(common)) return;
    sequence.clear();
    this.#from = Math.max(0, text.length - this.#kept);
  }

  get #isBounded(): boolean {
    return this.#engine.setting.policy.window === Number.POSITIVE_INFINITY;
  }

  /** Tokens of a text that its sequence begins anew with. */
  get #kept(): number {
    const { context, policy } = this.#engine.setting;
    return this.#isBounded ? Math.max(1, Math.floor(context / 2)) : policy.sinks + policy.window;
  }

  /** The most tokens of a draft that there is room for behind these. */
  get #room(): number {
    return this.#isBounded ? this.#engine.setting.context - this.#kept : Number.POSITIVE_INFINITY;
  }
}
