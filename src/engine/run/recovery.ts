// A device may be lost at any time: the driver restarts, the machine sleeps. Then it is opened again, the weights are
// uploaded again, and the text of a sequence is computed again before its next step; whoever asked for that step
// notices nothing but the time.

import type { PagePool } from "../../context/cache/page-pool.ts";
import type { PageTable } from "../../context/cache/page-table.ts";
import { UserError } from "../../errors.ts";
import { DeviceLostError } from "../../kernels/gpu/device.ts";
import type { Draw, TokenLogprob, TopLogits } from "../sampler/sampler.ts";
import type { AttentionProbe } from "./attention-probe.ts";
import { chosenTokens } from "./gpu-choice.ts";
import type { Runner } from "./runner.ts";
import type { Session } from "./session.ts";

/** Losses in a row, without a step between them, that are put up with. */
const MOST_LOSSES = 2;

/** A device was lost, and what lies at the model's path now is another file: its weights would not be those of the text. */
export class ModelChangedError extends UserError {
  override readonly name = "ModelChangedError";

  constructor(path: string) {
    super(
      `The GPU device was lost, and ${path} has changed since it was loaded: put the file back that was there, or load the model again.`,
    );
  }
}

/** What a sequence holds, and in which session that was computed. */
interface Text {
  ids: number[];
  session: Session;
  /** Of its sequence: when that is cleared, it is another text. */
  clears: number;
}

/** Runs a step when those asked for before are done. */
export type InTurn = <T>(work: () => Promise<T>) => Promise<T>;

export class Recovery {
  #session: Session;
  readonly #reopen: (pool: PagePool) => Promise<Session>;
  readonly #onWarning: (message: string) => void;
  readonly #texts = new WeakMap<PageTable, Text>();
  #losses = 0;

  constructor(
    session: Session,
    reopen: (pool: PagePool) => Promise<Session>,
    onWarning: (message: string) => void,
  ) {
    this.#session = session;
    this.#reopen = reopen;
    this.#onWarning = onWarning;
  }

  /** The session of the moment. */
  get session(): Session {
    return this.#session;
  }

  /** A step of `Runner.step`. A probe is lost with its device: such a step throws a `DeviceLostError`. */
  step(
    sequence: PageTable,
    tokens: readonly number[],
    wanted: number,
    probe?: AttentionProbe,
  ): Promise<Float32Array> {
    const work = (runner: Runner, ids: Uint32Array<ArrayBuffer>) =>
      runner.step(sequence, ids, wanted, probe);
    return this.#run(sequence, tokens, work, probe);
  }

  /** A step of `Runner.top`. */
  top<R>(
    sequence: PageTable,
    tokens: readonly number[],
    keep: number,
    use: (top: TopLogits) => R | undefined,
  ): Promise<R | Float32Array> {
    return this.#run(sequence, tokens, (runner, ids) => runner.top(sequence, ids, keep, use));
  }

  /** Takes tokens of a sequence back, as `PageTable.truncate` does: it ends behind these. */
  truncate(sequence: PageTable, tokens: readonly number[]): boolean {
    if (!sequence.truncate(tokens.length)) return false;
    // Steps may have been ahead of what has been given out: the sequence held more than was known of its text.
    const text = this.#texts.get(sequence);
    if (text) text.ids = [...tokens];
    return true;
  }

  /** A step of `Runner.hidden`. */
  hidden(sequence: PageTable, tokens: readonly number[], depth: number): Promise<Float32Array> {
    return this.#run(sequence, tokens, (runner, ids) => runner.hidden(sequence, ids, depth));
  }

  /** Reads attention weights on the device of the moment. */
  async probe(layer: number): Promise<AttentionProbe> {
    for (;;) {
      try {
        this.#session.device.check();
        return await this.#session.runner.probe(layer);
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  async #run<R>(
    sequence: PageTable,
    tokens: readonly number[],
    work: (runner: Runner, ids: Uint32Array<ArrayBuffer>) => Promise<R>,
    probe?: AttentionProbe,
  ): Promise<R> {
    for (;;) {
      const text = await this.#current(sequence);
      const { runner, device } = this.#session;
      if (probe && !probe.isOn(device)) {
        throw new DeviceLostError("The attention weights were lost with their GPU device.");
      }
      const before = sequence.length;
      try {
        const result = await work(runner, Uint32Array.from(tokens));
        this.#losses = 0;
        text.ids.push(...tokens);
        return result;
      } catch (error) {
        const isLoss = error instanceof DeviceLostError;
        // The step was taken, and what came of it is not to its caller's liking.
        if (!isLoss && sequence.length === before + tokens.length) text.ids.push(...tokens);
        await this.#recover(error);
        if (probe) throw error; // its buffers are gone
      }
    }
  }

  /** The tokens after `first`, as `chosenTokens` has them. */
  async *chosen(
    inTurn: InTurn,
    sequence: PageTable,
    draw: Draw,
    first: number,
    budget: number,
  ): AsyncGenerator<TokenLogprob, void, void> {
    let last = first;
    for (let given = 0; given < budget; ) {
      const text = await inTurn(() => this.#current(sequence));
      const { session } = text;
      const choices = chosenTokens(
        (run, token) =>
          inTurn(async () => {
            // Another text may have noticed the loss, and this one's pages are empty in the new session.
            if (session !== this.#session) throw new DeviceLostError("The GPU device was lost.");
            return session.runner.choose(run, token);
          }),
        sequence,
        draw,
        last,
        budget - given,
        session.facts.stepsAhead,
      );
      try {
        for await (const choice of choices) {
          text.ids.push(last); // what has been chosen after it has seen it
          this.#losses = 0;
          last = choice.id;
          given++;
          yield choice;
        }
      } catch (error) {
        await inTurn(() => this.#recover(error));
      }
    }
  }

  /** The text of a sequence, computed in this session. */
  async #current(sequence: PageTable): Promise<Text> {
    let text = this.#texts.get(sequence);
    if (!text) {
      text = { ids: [], session: this.#session, clears: sequence.clears };
      this.#texts.set(sequence, text);
    }
    if (sequence.clears !== text.clears) {
      text.ids.length = 0;
      text.clears = sequence.clears;
    }
    for (;;) {
      try {
        this.#session.device.check();
        if (text.session !== this.#session) await this.#replay(sequence, text);
        return text;
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  async #replay(sequence: PageTable, text: Text): Promise<void> {
    const { cache, runner } = this.#session;
    const { onEvict } = sequence;
    sequence.onEvict = () => {}; // it has been told
    sequence.clear();
    text.clears = sequence.clears;
    try {
      for (let at = 0; at < text.ids.length; ) {
        // A text that has grown token by token may share the pool with others: no more at a time than fits.
        const room = Math.max(1, sequence.available * cache.shape.pageSize);
        const part = text.ids.slice(at, at + Math.min(cache.stepLimit(sequence), room));
        await runner.step(sequence, Uint32Array.from(part), 0);
        at += part.length;
      }
    } finally {
      sequence.onEvict = onEvict;
    }
    text.session = this.#session;
  }

  /** Opens a new session where the device of this one is lost; throws all other errors, and the third loss in a row. */
  async #recover(error: unknown): Promise<void> {
    if (!(error instanceof DeviceLostError)) throw error;
    if (!this.#session.device.isLost) return; // somebody else's step has done so already
    if (this.#losses === MOST_LOSSES) {
      this.#losses = 0;
      const times = MOST_LOSSES + 1;
      throw new DeviceLostError(`${error.message} This was loss ${times} in a row: giving up.`);
    }
    this.#losses++;
    this.#onWarning(`${error.message} It is opened again, and the text computed again.`);
    const { cache } = this.#session;
    await this.#session.close();
    try {
      this.#session = await this.#reopen(cache.pool);
    } catch (second) {
      if (!(second instanceof DeviceLostError)) this.#losses = 0; // refused, not lost
      await this.#recover(second); // the same session, still lost
    }
  }
}
