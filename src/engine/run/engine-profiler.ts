import { type PhaseProfile, Profiler } from "../../kernels/gpu/profiler.ts";
import type { LoadedModel } from "./loaded-model.ts";

/** Measures where the GPU's time goes, kernel by kernel. Steps take longer while it is on. */
export class EngineProfiler {
  readonly #model: LoadedModel;

  constructor(model: LoadedModel) {
    this.#model = model;
  }

  get isOn(): boolean {
    return this.#model.session.runner.profiler !== undefined;
  }

  /**
   * Throws a `UserError` if the adapter has no timestamps. After a lost device it is off, unless
   * `onProfile` is given.
   */
  start(): void {
    const { runner, device } = this.#model.session;
    runner.profiler ??= new Profiler(device);
  }

  stop(): void {
    this.#model.session.runner.profiler = undefined;
  }

  /**
   * The time since the last report, by phase ("prefill": steps of several tokens; "decode": of one)
   * and kernel; empty unless it is on.
   */
  async report(): Promise<readonly PhaseProfile[]> {
    return (await this.#model.session.runner.profiler?.report()) ?? [];
  }
}
