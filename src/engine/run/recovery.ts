// A device may be lost at any time: the driver restarts, the machine sleeps. Then a new one is
// opened, the weights are uploaded again, and the text of a sequence is computed again before its
// next step. The caller of that step notices only the delay.

import type { CachePages } from "../../context/cache/cache-pages.ts";
import { partsOf, type Sequence } from "../../context/cache/sequence.ts";
import { UserError } from "../../errors.ts";
import { DeviceLostError } from "../../kernels/gpu/device.ts";
import type { Session } from "./session.ts";
import { type Choice, NOTHING, type Output, type Step, type Wanted } from "./step.ts";

/** How many losses in a row, without a step between them, are recovered from. */
const MAX_LOSSES = 2;

/**
 * A device was lost, and the model's file has changed since: the text was computed with other
 * weights.
 */
export class ModelChangedError extends UserError {
  override readonly name = "ModelChangedError";

  constructor(path: string) {
    super(
      `The GPU device was lost, and ${path} has changed since it was loaded: put the file back that was there, or load the model again.`,
    );
  }
}

/**
 * The device was lost too often in a row. Unlike after other losses, the step is not tried again.
 */
export class DeviceGoneError extends DeviceLostError {}

export class Recovery {
  #session: Session;
  readonly #reopen: (pages: CachePages) => Promise<Session>;
  readonly #onWarning: (message: string) => void;
  #losses = 0;

  constructor(
    session: Session,
    reopen: (pages: CachePages) => Promise<Session>,
    onWarning: (message: string) => void,
  ) {
    this.#session = session;
    this.#reopen = reopen;
    this.#onWarning = onWarning;
  }

  /** The current session; another one after a lost device. */
  get session(): Session {
    return this.#session;
  }

  /**
   * Runs a step; after a lost device on a new one, with the text of its sequence computed again.
   * Throws a `DeviceLostError` if the step's token was chosen by the lost device and not read back
   * yet, and at the third loss in a row.
   */
  async run<W extends Wanted>(step: Step<W>): Promise<Output<W>> {
    const [{ sequence, tokens }] = step.rows;
    const isKnown = "length" in tokens;
    for (;;) {
      try {
        this.#session.device.check();
        if (sequence.isLost) {
          if (!isKnown) throw new DeviceLostError("The GPU device was lost.");
          await this.#replay(sequence);
        }
        const before = sequence.length;
        try {
          return this.#heard(await this.#session.runner.run(step));
        } catch (error) {
          if (error instanceof DeviceLostError && isKnown) sequence.discard(before);
          throw error;
        }
      } catch (error) {
        await this.#recover(error);
        if (!isKnown) throw error;
      }
    }
  }

  /**
   * Resets the count of losses when an output, or the choice in it, has arrived: the device works.
   */
  #heard<O>(output: O): O {
    const hear = () => {
      this.#losses = 0;
    };
    if (isChoice(output)) output.choice.then(hear, () => {});
    else hear();
    return output;
  }

  /** Computes the text of a sequence again. */
  async #replay(sequence: Sequence): Promise<void> {
    sequence.discard();
    // Other texts may hold most pages by now: take no more tokens at a time than fit the free ones.
    const limit = () => Math.min(sequence.stepLimit, Math.max(1, sequence.available));
    for (const { tokens } of partsOf(sequence.ids, limit)) {
      await this.#session.runner.run({ rows: [{ sequence, tokens, wanted: NOTHING }] });
    }
  }

  /**
   * Opens a new session if the device of this one is lost; throws all other errors, and the third
   * loss in a row.
   */
  async #recover(error: unknown): Promise<void> {
    if (!(error instanceof DeviceLostError)) throw error;
    if (!this.#session.device.isLost) return; // another step has recovered already
    if (this.#losses === MAX_LOSSES) {
      this.#losses = 0;
      const times = MAX_LOSSES + 1;
      throw new DeviceGoneError(`${error.message} This was loss ${times} in a row: giving up.`);
    }
    this.#losses++;
    this.#onWarning(`${error.message} It is opened again, and the text computed again.`);
    const { pages } = this.#session;
    await this.#session.close();
    try {
      this.#session = await this.#reopen(pages);
      pages.lose();
    } catch (second) {
      if (!(second instanceof DeviceLostError)) this.#losses = 0; // opening failed otherwise
      await this.#recover(second); // the same session, still lost
    }
  }
}

function isChoice(output: unknown): output is Choice {
  return typeof output === "object" && output !== null && "choice" in output;
}
