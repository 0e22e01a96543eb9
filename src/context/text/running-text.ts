// A text that is being generated: its pieces, one by one, and its result, which does not need a
// loop over the pieces.

/**
 * An async generator of pieces that also has its result as a promise. Leaving a loop over it early
 * ends the text as an abort does: `result` then has what was generated so far, with the reason
 * "aborted".
 */
export class Generation<P, R> implements AsyncGenerator<P, R, void> {
  readonly #pieces: AsyncGenerator<P, R, void>;
  readonly #left = new AbortController();
  readonly #result: Promise<R>;
  #settle!: { resolve(result: R): void; reject(error: unknown): void };
  /** Steps that `result` has taken before a loop read them. */
  readonly #ahead: Promise<IteratorResult<P, R>>[] = [];
  #hasBegun = false;
  #isRunning = false;

  /** `start` gets a signal that is aborted with `signal`, or if the loop is left early. */
  constructor(
    signal: AbortSignal | undefined,
    start: (signal: AbortSignal) => AsyncGenerator<P, R, void>,
  ) {
    const left = this.#left.signal;
    this.#pieces = start(signal ? AbortSignal.any([signal, left]) : left);
    this.#result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#result.catch(() => {}); // no unhandled rejection if only the loop is used
  }

  /**
   * The whole text, the reason that it ended, counts and timings. Asking for it runs the text to
   * its end; the pieces can be read all the same. Rejects with what the loop throws.
   */
  get result(): Promise<R> {
    void this.#run();
    return this.#result;
  }

  next(): Promise<IteratorResult<P, R>> {
    return this.#ahead.shift() ?? this.#step();
  }

  /** Ends the text after the current token. */
  async return(value: R | PromiseLike<R>): Promise<IteratorResult<P, R>> {
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      this.#settle.reject(new Error("The text was left before its first piece: it has no result."));
      return this.#pieces.return(value as R);
    }
    this.#left.abort();
    this.#ahead.length = 0;
    for (;;) {
      const step = await this.#step(); // to the end, to release what it holds
      if (step.done) return { done: true, value: (await value) ?? step.value };
    }
  }

  throw(error: unknown): Promise<IteratorResult<P, R>> {
    this.#hasBegun = true;
    this.#settle.reject(error);
    return this.#pieces.throw(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return(undefined as never);
  }

  #step(): Promise<IteratorResult<P, R>> {
    this.#hasBegun = true;
    const step = this.#pieces.next();
    step.then(({ done, value }) => {
      if (done) this.#settle.resolve(value);
    }, this.#settle.reject);
    return step;
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    this.#result.then(settled, settled);
    await Promise.resolve();
    while (!isSettled) {
      const step = this.#step();
      if (!this.#left.signal.aborted) this.#ahead.push(step);
      await step.catch(() => {});
    }
  }
}
