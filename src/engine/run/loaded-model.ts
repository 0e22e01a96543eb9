// A model on a GPU, as tasks use it: sequences, and rows that run in steps.

import { IdlePrefixes, PrefixCache } from "../../context/cache/prefix-cache.ts";
import type { Sequence } from "../../context/cache/sequence.ts";
import {
  type AttentionPolicy,
  withSlidingWindow,
} from "../../context/positions/attention-policy.ts";
import { UserError } from "../../errors.ts";
import type { ModelConfig } from "../model/config.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import type { Setting } from "../options.ts";
import type { SamplingOptions } from "../sampler/sampling-options.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { Admission, pagesOf, type TextRequest } from "./admission.ts";
import type { Recovery } from "./recovery.ts";
import { Scheduler } from "./scheduler.ts";
import type { Session } from "./session.ts";
import type { Output, Rows, StepReport, StepRunner, Wanted } from "./step.ts";

/** The engine was closed before a request had ended. */
export class EngineClosedError extends UserError {
  override readonly name = "EngineClosedError";

  constructor() {
    super("The engine is closed: load it again.");
  }
}

/** How many requests there are. */
export interface RequestCounts {
  /** Those that have begun and are read. */
  readonly running: number;
  /** Those that wait for pages, or for others to end. */
  readonly waiting: number;
  /** How often a text that was not read on has given its pages back, to be computed again. */
  readonly yields: number;
}

/** Texts that begin with the same prompt. */
export interface Forks {
  readonly first: Sequence;
  /** Call it once the first one holds the prompt: the others, with the same tokens. */
  others(): Sequence[];
}

export class LoadedModel implements OpenedModel, StepRunner {
  readonly config: ModelConfig;
  readonly setting: Setting;
  readonly tokenizer: Tokenizer;
  readonly samplingDefaults: SamplingOptions;
  readonly #recovery: Recovery;
  readonly #idle: IdlePrefixes;
  readonly #admission: Admission;
  readonly #scheduler: Scheduler;
  #isClosed = false;

  constructor(
    { config, setting, tokenizer, samplingDefaults }: OpenedModel,
    recovery: Recovery,
    onStep?: (step: StepReport) => void,
  ) {
    this.config = config;
    this.setting = setting;
    this.tokenizer = tokenizer;
    this.samplingDefaults = samplingDefaults;
    this.#recovery = recovery;
    const { pools } = recovery.session.pages;
    this.#idle = new IdlePrefixes(pools);
    this.#admission = new Admission(pools, this.#idle, setting.requests);
    this.#scheduler = new Scheduler(recovery, () => this.#admission.running, onStep);
  }

  /** What lies on the GPU now: another session after a loss of its device. */
  get session(): Session {
    return this.#recovery.session;
  }

  /** How many steps of one text are worth having in flight. */
  get stepsAhead(): number {
    return this.session.facts.stepsAhead;
  }

  /** See `Engine.sequence`. */
  sequence(policy?: AttentionPolicy): Sequence {
    return this.session.pages.sequence(policy);
  }

  /** See `Engine.prefixCache`. */
  prefixCache(): PrefixCache {
    return new PrefixCache(this, this.#idle);
  }

  /**
   * Waits until there are pages for the whole request, and returns a sequence with these reserved
   * until `release()`; an empty one if the signal is aborted meanwhile. Throws a `CapacityError` if
   * waiting is useless.
   */
  async admit(request: TextRequest): Promise<Sequence> {
    return this.#admit(
      request,
      this.#pagesOf(request).map(({ pages }) => pages),
    );
  }

  /**
   * Waits as `admit` does, for room for `count` texts that begin with the same prompt. The others are
   * forked from the first one, once it holds the prompt.
   */
  async admitForks(request: TextRequest, count: number): Promise<Forks> {
    const needed = this.#pagesOf(request);
    const own = needed.map(({ pages }) => pages);
    // They share the whole pages of the prompt, as long as none of them forgets any.
    const prompt = Math.floor(request.ids.length / this.setting.cache.shape.pageSize);
    const all = needed.map(({ pages, window }) => {
      const shared = window === Number.POSITIVE_INFINITY ? Math.min(prompt, pages) : 0;
      return shared + count * (pages - shared);
    });
    const first = await this.#admit(request, all);
    const others = () => {
      first.reserve(own);
      return Array.from({ length: count - 1 }, () => {
        const fork = first.fork();
        fork.reserve(own);
        return fork;
      });
    };
    return { first, others };
  }

  /** The most pages of each pool that a request comes to hold, and the window of its layers. */
  #pagesOf(request: TextRequest): { readonly pages: number; readonly window: number }[] {
    const { context, cache } = this.setting;
    const { policy = this.setting.policy } = request;
    const { stepLimit } = this.sequence(policy);
    return cache.groups.map(({ window }) => {
      const seen = withSlidingWindow(policy, window, context);
      const pages = pagesOf(request, seen, stepLimit, cache.shape.pageSize);
      return { pages, window: seen.window };
    });
  }

  async #admit(request: TextRequest, pages: readonly number[]): Promise<Sequence> {
    if (this.#isClosed) throw new EngineClosedError();
    const { policy = this.setting.policy, ids } = request;
    const sequence = () => this.sequence(policy);
    const { prefix, finds = false } = request;
    const shared = () => (finds ? this.session.pages.shared(ids, policy) : []);
    const own = () => prefix?.pagesFor(ids, policy) ?? shared();
    const take = () => {
      const taken = prefix?.take(ids, policy) ?? sequence();
      taken.finds = finds;
      if (finds) taken.find(ids, ids.length - 1);
      return taken;
    };
    return this.#admission.admit(request, pages, sequence, { own, take });
  }

  /** Requests as they are now. */
  get requests(): RequestCounts {
    const { running, waiting, yields } = this.#admission;
    return { running, waiting, yields };
  }

  /** Says that a text which was admitted is not read on for now: see `Admission.pause`. */
  pause(sequence: Sequence): void {
    this.#admission.pause(sequence);
  }

  /** Says that it is read on; settles when it has its pages again, or if the signal is raised. */
  resume(sequence: Sequence, signal: AbortSignal | undefined): Promise<void> {
    return this.#admission.resume(sequence, signal);
  }

  /** Says that it has ended, or was left. */
  leave(sequence: Sequence): void {
    this.#admission.leave(sequence);
  }

  run<W extends Wanted>(rows: Rows<W>): Promise<Output<W>>;
  run<W extends Wanted>(
    rows: Rows<W>,
    signal: AbortSignal | undefined,
  ): Promise<Output<W> | undefined>;
  /** See `Engine.run`. Undefined if the signal is raised before the rows are computed. */
  run<W extends Wanted>(rows: Rows<W>, signal?: AbortSignal): Promise<Output<W> | undefined> {
    return this.#scheduler.run(rows, signal);
  }

  /**
   * Ends what waits and runs with an `EngineClosedError`; settles when the step in work is done, so
   * that the session can be closed.
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    const error = new EngineClosedError();
    this.#admission.close(error);
    await this.#scheduler.close(error);
  }
}
