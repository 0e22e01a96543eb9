// A model on a GPU, as tasks use it: sequences, and steps that run one at a time.

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
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { Admission, pagesOf, type TextRequest } from "./admission.ts";
import type { Recovery } from "./recovery.ts";
import type { Session } from "./session.ts";
import type { Output, Rows, Wanted } from "./step.ts";

export class LoadedModel implements OpenedModel {
  readonly config: ModelConfig;
  readonly setting: Setting;
  readonly tokenizer: Tokenizer;
  readonly #recovery: Recovery;
  readonly #idle: IdlePrefixes;
  readonly #admission: Admission;
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor({ config, setting, tokenizer }: OpenedModel, recovery: Recovery) {
    this.config = config;
    this.setting = setting;
    this.tokenizer = tokenizer;
    this.#recovery = recovery;
    const { pools } = recovery.session.pages;
    this.#idle = new IdlePrefixes(pools);
    this.#admission = new Admission(pools, this.#idle);
  }

  /** What lies on the current device. */
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
    if (this.#isClosed) throw closedError();
    const { context, cache } = this.setting;
    const { policy = this.setting.policy, ids } = request;
    const sequence = () => this.sequence(policy);
    const { stepLimit } = sequence();
    const pages = cache.groups.map(({ window }) => {
      const seen = withSlidingWindow(policy, window, context);
      return pagesOf(request, seen, stepLimit, cache.shape.pageSize);
    });
    const take = (prefixCache: PrefixCache) => prefixCache.take(ids, policy);
    return this.#admission.admit(request, pages, sequence, take);
  }

  /** See `Engine.run`. */
  run<W extends Wanted>(rows: Rows<W>): Promise<Output<W>> {
    if (this.#isClosed) return Promise.reject(closedError());
    const result = this.#last.then(() => this.#recovery.run({ rows: [rows] }));
    this.#last = result.catch(() => {});
    return result;
  }

  /**
   * Takes no more steps; settles when those in flight are done, so that the session can be closed.
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#admission.close(closedError());
    await this.#last;
  }
}

function closedError(): UserError {
  return new UserError("The engine is closed: load it again.");
}
