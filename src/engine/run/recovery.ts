// A device may be lost at any time: the driver restarts, the machine sleeps. Then it is opened again and
// the weights are uploaded again; the scheduler computes the texts of the sequences again before their
// next steps. What asked for a step notices nothing but the time.

import type { CachePages } from "../../context/cache/cache-pages.ts";
import { UserError } from "../../errors.ts";
import { DeviceLostError } from "../../kernels/gpu/device.ts";
import type { Session } from "./session.ts";
import { isChoice, type Outcome, type Step } from "./step.ts";

/** Losses in a row, without a step between them, after which the device is opened again. */
const MAX_LOSSES = 2;

/**
 * A device was lost, and what lies at the model's path now is another file: its weights would not be
 * those of the text.
 */
export class ModelChangedError extends UserError {
  override readonly name = "ModelChangedError";

  constructor(path: string) {
    super(
      `The GPU device was lost, and ${path} has changed since it was loaded: put the file back that was there, or load the model again.`,
    );
  }
}

/** A device was lost so often in a row that it is not opened again by itself. */
export class DeviceGoneError extends DeviceLostError {}

/** Runs steps on a session, and replaces the session if its device is lost. */
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

  /** The session in use. */
  get session(): Session {
    return this.#session;
  }

  /**
   * Throws a `DeviceLostError` if the device is lost before the step, or in it: see `recover`.
   * `isProgress` says that more than lost texts is computed.
   */
  async run(step: Step, isProgress: boolean): Promise<Outcome[]> {
    this.#session.device.check();
    const outcomes = await this.#session.runner.run(step);
    if (isProgress) for (const outcome of outcomes) this.#note(outcome);
    return outcomes;
  }

  /** An output says that the device is there: at once, or when a choice has come from it. */
  #note(outcome: Outcome): void {
    if (outcome.status === "rejected") return;
    const isThere = () => {
      this.#losses = 0;
    };
    if (isChoice(outcome.value)) outcome.value.choice.then(isThere, () => {});
    else isThere();
  }

  /**
   * Opens a new session if the device of this one is lost: its pages hold nothing. Throws all other
   * errors, and a `DeviceGoneError` for the third loss in a row.
   */
  async recover(error: unknown): Promise<void> {
    if (!(error instanceof DeviceLostError)) throw error;
    if (!this.#session.device.isLost) return; // it was opened again after an earlier step
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
      if (!(second instanceof DeviceLostError)) this.#losses = 0; // refused, not lost
      await this.recover(second); // the same session, still lost
    }
  }
}
