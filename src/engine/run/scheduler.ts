// Which rows run together. Requests ask for rows of their sequences; each step takes as many of them as
// it has room for: the tokens that decode first, then pieces of prompts.
//
// In this room: what runs when, on which device, and what comes back of it. Not in it: what a request
// does with its tokens (generation/, tasks/), and what a step computes (model/).

import type { Sequence } from "../../context/cache/sequence.ts";
import { FEW } from "../../kernels/adapter/target.ts";
import { DeviceLostError } from "../../kernels/gpu/device.ts";
import type { Recovery } from "./recovery.ts";
import {
  areAlike,
  countOf,
  isBetween,
  isChoice,
  isVerification,
  listedRows,
  NOTHING,
  type Outcome,
  type Output,
  type Rows,
  type StepReport,
  type StepRunner,
  type Wanted,
  wantedRows,
} from "./step.ts";

/**
 * Tokens of prompts in a step in which other texts decode: their next tokens wait for as long as
 * these take. 32 are four tiles of the products of a software adapter.
 */
export const PROMPT_TOKENS = 32;

/** Steps that rows wait for others at most; then they go first. */
export const PATIENCE = 8;

/** Rows that wait, or are computed piece by piece. */
interface Waiting {
  readonly rows: Rows;
  readonly signal: AbortSignal | undefined;
  /** How many of its tokens earlier steps have taken. */
  taken: number;
  /** Steps without it since it came, or since it last had a part in one. */
  waited: number;
  isInStep: boolean;
  readonly resolve: (output: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** What a step takes of waiting rows. */
interface Share {
  readonly waiting: Waiting;
  readonly rows: Rows;
  /** Tokens that are the waiting rows' own: none if the text before them is computed again. */
  readonly own: number;
  readonly isLast: boolean;
  /** Known tokens of the sequence before the step. */
  readonly known: number;
}

/** What a step has room for. */
interface Room {
  tokens: number;
  /** Until so many rows are in the step, each is summed as if it were alone. */
  few: number;
  prompts: number;
  /** Texts that are computed again: each may take what free pages there are, so one at a time. */
  replays: number;
  logits: number;
  lists: number;
  texts: number;
}

export class Scheduler implements StepRunner {
  readonly #recovery: Recovery;
  readonly #running: () => number;
  readonly #onStep: ((step: StepReport) => void) | undefined;
  readonly #waiting: Waiting[] = [];
  /** Of each step on its way: settles when its choices have come. */
  readonly #flying: Promise<unknown>[] = [];
  #closed: Error | undefined;
  /** Settles when nothing waits. */
  #work: Promise<void> | undefined;

  /**
   * `running` tells how many requests may ask for rows while a step is about to begin, and `onStep`
   * hears of each step that has run.
   */
  constructor(recovery: Recovery, running: () => number, onStep?: (step: StepReport) => void) {
    this.#recovery = recovery;
    this.#running = running;
    this.#onStep = onStep;
  }

  run<W extends Wanted>(rows: Rows<W>): Promise<Output<W>>;
  run<W extends Wanted>(
    rows: Rows<W>,
    signal: AbortSignal | undefined,
  ): Promise<Output<W> | undefined>;
  run(rows: Rows, signal?: AbortSignal): Promise<unknown> {
    if (this.#closed) return Promise.reject(this.#closed);
    if (signal?.aborted) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const end = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        signal?.removeEventListener("abort", abort);
      };
      const abort = () => {
        if (!waiting.isInStep) waiting.resolve(undefined);
      };
      const waiting: Waiting = {
        rows,
        signal,
        taken: 0,
        waited: 0,
        isInStep: false,
        resolve: (output) => {
          end();
          resolve(output);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.push(waiting);
      this.#work ??= this.#serve();
    });
  }

  /** Rejects what waits, and everything from now on; settles when the step in work is done. */
  async close(error: Error): Promise<void> {
    this.#closed = error;
    for (const waiting of [...this.#waiting]) if (!waiting.isInStep) waiting.reject(error);
    await this.#work;
  }

  async #serve(): Promise<void> {
    await undefined; // what is asked for in one go runs together
    while (this.#waiting.length > 0) {
      await this.#landed();
      // Of requests that run at the same time, most ask for their next rows right after a step.
      if (this.#waiting.length < this.#running()) await nextTurn();
      const shares = this.#form();
      if (shares.length > 0) await this.#step(shares);
    }
    this.#work = undefined;
  }

  /**
   * Waits until as few steps are on their way as the adapter has use for: a text whose choice is on its
   * way asks for its next rows when that has come.
   */
  async #landed(): Promise<void> {
    const { stepsAhead } = this.#recovery.session.facts;
    while (this.#flying.length >= stepsAhead) await this.#flying.shift();
  }

  /** What the next step takes. */
  #form(): Share[] {
    const { tokens, ...rest } = this.#recovery.session.runner.limits;
    const sequences = new Set<Sequence>();
    const firsts = this.#waiting.filter(({ rows: { sequence } }) => {
      const isFirst = !sequences.has(sequence); // the rows of a sequence run in the order of the calls
      sequences.add(sequence);
      return isFirst;
    });
    const [late, others] = split(firsts, ({ waited }) => waited >= PATIENCE);
    const [decoding, prompts] = split(others, decodes);
    const isShared = firsts.some(decodes);
    const most = isShared ? PROMPT_TOKENS : tokens;
    const room = { ...rest, tokens, few: FEW, prompts: most, replays: 1 };
    const shares: Share[] = [];
    /** The pages that prompts compute in the step: another text finds them after it. */
    const coming = new Set<string>();
    for (const waiting of [...late, ...decoding, ...prompts]) {
      if (find(waiting)) continue;
      const isFirst = shares.length === 0;
      const fits = isFirst || (!needsAll(waiting.rows) && areAlike(shares[0]!.rows, waiting.rows));
      const isOpen = !this.#closed && room.texts > 0 && fits;
      const page = nextPage(waiting);
      const isComing = page !== undefined && coming.has(page);
      const share = isOpen && !isComing ? this.#share(waiting, room, isFirst) : undefined;
      waiting.waited++;
      if (!share) continue;
      waiting.waited = 0;
      shares.push(share);
      if (page !== undefined) coming.add(page);
      if (needsAll(share.rows)) break;
    }
    return shares;
  }

  /** What a step with some room takes of waiting rows, which may be nothing. */
  #share(waiting: Waiting, room: Room, isFirst: boolean): Share | undefined {
    const { sequence, tokens } = waiting.rows;
    const known = sequence.ids.length;
    if (sequence.isLost) {
      if (!("length" in tokens)) {
        waiting.reject(new DeviceLostError("The GPU device was lost."));
        return undefined;
      }
      return this.#replay(waiting, room);
    }
    const left = "length" in tokens ? tokens.slice(waiting.taken) : tokens;
    const whole = { ...waiting.rows, tokens: left };
    const count = countOf(whole);
    const most = mostOf(room, whole);
    const share = { waiting, known };
    if ((count <= most && hasRoom(room, whole)) || isFirst) {
      take(room, whole, count);
      return { ...share, rows: whole, own: count, isLast: true };
    }
    // The tokens before those that something is wanted of.
    const before = Math.min(most, count - Math.max(1, wantedRows(whole)));
    if (before < 1 || isBetween(whole) || !("length" in left)) return undefined;
    const part: Rows = { sequence, tokens: left.slice(0, before), wanted: NOTHING };
    take(room, part, before);
    return { ...share, rows: part, own: before, isLast: false };
  }

  /** A part of the text of a sequence whose pages hold nothing any more: it is computed again. */
  #replay(waiting: Waiting, room: Room): Share | undefined {
    const { sequence } = waiting.rows;
    if (sequence.isStale) sequence.discard();
    const { ids, length, stepLimit, available } = sequence;
    // A text that has grown token by token may share the pool with others: no more at a time than fits.
    const most = Math.min(room.tokens, room.prompts, stepLimit, Math.max(1, available));
    if (most < 1 || room.replays < 1) return undefined;
    room.replays--;
    const tokens = ids.slice(length, length + most);
    const rows: Rows = { sequence, tokens, wanted: NOTHING };
    take(room, rows, tokens.length);
    return { waiting, rows, own: 0, isLast: false, known: ids.length };
  }

  async #step(shares: readonly Share[]): Promise<void> {
    for (const { waiting } of shares) waiting.isInStep = true;
    const began = performance.now();
    const pieces = shares.map(({ rows }) => ({
      position: rows.sequence.length,
      tokens: countOf(rows),
      wanted: rows.wanted.kind,
    }));
    try {
      const rows = shares.map((share) => share.rows);
      const isProgress = shares.some(({ own }) => own > 0);
      const outcomes = await this.#recovery.run({ rows }, isProgress);
      this.#flying.push(Promise.all(outcomes.map(hasCome)));
      this.#onStep?.({ pieces, ms: performance.now() - began });
      for (const [i, share] of shares.entries()) {
        tellComputed(share.rows, outcomes[i]!);
        deliver(share, outcomes[i]!);
      }
    } catch (error) {
      await this.#recover(shares, error);
    }
    for (const { waiting } of shares) {
      waiting.isInStep = false;
      if (!this.#waiting.includes(waiting)) continue;
      if (this.#closed) waiting.reject(this.#closed);
      else if (waiting.signal?.aborted) waiting.resolve(undefined);
    }
  }

  /** Rows of known tokens run again on another device; a token that was on its way is lost. */
  async #recover(shares: readonly Share[], error: unknown): Promise<void> {
    if (error instanceof DeviceLostError) {
      for (const { rows, known } of shares) {
        if ("length" in rows.tokens) rows.sequence.discard(known);
      }
    }
    try {
      await this.#recovery.recover(error);
      for (const { rows, waiting } of shares) {
        if (!("length" in rows.tokens)) waiting.reject(error);
      }
    } catch (last) {
      for (const { waiting } of shares) waiting.reject(last);
    }
  }
}

/**
 * Takes over pages that hold the next tokens of a prompt, or of a text that is lost: other texts have
 * computed them meanwhile. True if nothing is left to compute.
 */
function find(waiting: Waiting): boolean {
  const { rows, taken, resolve } = waiting;
  const { sequence, tokens } = rows;
  if (!sequence.finds || !("length" in tokens) || isBetween(rows)) return false;
  if (sequence.isLost) sequence.find(sequence.ids, sequence.ids.length);
  const left = tokens.slice(taken);
  const isKnown = !sequence.isLost && sequence.ids.length === sequence.length;
  if (left.length <= wantedRows(rows) || !isKnown) return false;
  const most = sequence.length + left.length - wantedRows(rows);
  waiting.taken += sequence.find([...sequence.ids, ...left], most);
  if (waiting.taken < tokens.length) return false;
  resolve(undefined);
  return true;
}

/** A name for the page that a prompt computes next. */
function nextPage({ rows, taken }: Waiting): string | undefined {
  const { sequence, tokens } = rows;
  if (!sequence.finds || sequence.isLost || !("length" in tokens)) return undefined;
  return tokens.length - taken > wantedRows(rows)
    ? sequence.nextPage(tokens.slice(taken))
    : undefined;
}

/** Whether rows need a step of their own. */
function needsAll(rows: Rows): boolean {
  return rows.wanted.kind === "attention" || rows.sequence.rotatesAlone;
}

/** Tells a sequence that its rows have gone through all layers. Drafts may be taken back. */
function tellComputed(rows: Rows, outcome: Outcome): void {
  if (outcome.status === "rejected" || rows.wanted.kind === "hidden") return;
  rows.sequence.computed(countOf(rows), wantedRows(rows) > 1);
}

function deliver({ waiting, own, isLast }: Share, outcome: Outcome): void {
  waiting.taken += own;
  if (outcome.status === "rejected") waiting.reject(outcome.reason);
  else if (isLast) waiting.resolve(outcome.value);
}

/** Settles when an outcome is there: a choice may be on its way. */
async function hasCome(outcome: Outcome): Promise<void> {
  if (outcome.status === "rejected" || !isChoice(outcome.value)) return;
  await outcome.value.choice.catch(() => {}); // what reads the choice gets the error
}

/**
 * Whether one token is left, or a few that are verified, which follow a text in the cache.
 */
function decodes({ rows, taken }: Waiting): boolean {
  const isLittle = countOf(rows) - taken === 1 || isVerification(rows);
  return isLittle && !rows.sequence.isLost && rows.sequence.length > 0;
}

/** The most tokens of some rows that a step has room for. */
function mostOf({ tokens, few, prompts }: Room, rows: Rows): number {
  if (countOf(rows) === 1) return tokens;
  return Math.min(tokens, isVerification(rows) ? few : prompts);
}

function hasRoom(room: Room, rows: Rows): boolean {
  if (needsAll(rows)) return false; // unless it is the first
  return wantedRows(rows) <= room.logits && listedRows(rows) <= room.lists;
}

function take(room: Room, rows: Rows, count: number): void {
  room.tokens -= count;
  room.few -= count;
  if (count > 1 && !isVerification(rows)) room.prompts -= count;
  room.texts--;
  room.logits -= wantedRows(rows);
  room.lists -= listedRows(rows);
}

function split<T>(all: readonly T[], isIn: (each: T) => boolean): [T[], T[]] {
  return [all.filter(isIn), all.filter((each) => !isIn(each))];
}

/** Settles after what has been settled so far has been heard of, timers and messages included. */
function nextTurn(): Promise<void> {
  const { setImmediate = setTimeout } = globalThis as {
    setImmediate?: (callback: () => void) => unknown;
  };
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
