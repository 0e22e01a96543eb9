// What a step computes of the logits of its rows, and how that comes to what asked for it.

import type { KvType } from "../../kernels/attention/kv-types.ts";
import type { RowDraw } from "../../kernels/choice/choice.ts";
import { Commands } from "../../kernels/gpu/commands.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import type { TokenLogprob } from "../sampler/sampler.ts";
import { firstNotFinite, NotFiniteError } from "./not-finite.ts";
import { collect, type Piece, settle, type Tail } from "./pieces.ts";
import type { Plans } from "./plans.ts";
import type { ChoiceSlot } from "./read-back.ts";
import { type Choice, chosenTokens, isChosen, listedRows, type Wanted } from "./step.ts";

export class Outputs {
  readonly #device: Device;
  readonly #plans: Plans;
  readonly #kvType: KvType;
  readonly #wait: <T>(promise: Promise<T>) => Promise<T>;
  #justChosen: ReadonlyMap<Promise<number>, number> = new Map();

  /** `wait` is told of every promise of the GPU's. */
  constructor(
    device: Device,
    plans: Plans,
    kvType: KvType,
    wait: <T>(promise: Promise<T>) => Promise<T>,
  ) {
    this.#device = device;
    this.#plans = plans;
    this.#kvType = kvType;
    this.#wait = wait;
  }

  /** The choices of the last step by their tokens: where they lie for the next one. */
  get justChosen(): ReadonlyMap<Promise<number>, number> {
    return this.#justChosen;
  }

  /** Room for the choices of a step, when there is some. */
  slot(): Promise<ChoiceSlot> {
    return this.#plans.choices.slot();
  }

  /** Settles when no choice is on its way. */
  settled(): Promise<void> {
    return this.#plans.choices.settled();
  }

  /** Begins a step: the choices before the last step lie nowhere any more. */
  begin(): void {
    this.#justChosen = new Map();
  }

  /** Records what is wanted of logits, submits, and takes what comes back. */
  async submit(
    commands: Commands,
    tails: readonly Tail[],
    slot: ChoiceSlot | undefined,
  ): Promise<void> {
    const { choose, findTop, top } = this.#plans;
    const choices = tails.filter(({ piece }) => isChosen(piece.rows.wanted));
    const draws = choices.flatMap(drawsOf);
    const lists = tails.filter(({ piece }) => listedRows(piece.rows) > 0);
    const listed = lists.flatMap(listsOf);
    const logits = tails.filter(({ piece }) => piece.rows.wanted.kind === "logits");
    if (choices.length > 0) {
      slot!.write(draws);
      commands.run(choose, { tokens: draws.length });
    }
    if (lists.length > 0) {
      top.write(listed);
      commands.run(findTop, { tokens: listed.length });
      top.copyTo(commands.encoder, listed.length);
    }
    if (choices.length > 0) slot!.copyTo(commands.encoder, draws.length);
    this.#copyLogits(commands, logits);
    commands.submit();
    if (choices.length > 0) await this.#choose(choices, slot!.read(draws.length));
    if (lists.length > 0) await this.#useLists(lists, listed.length);
    if (logits.length > 0) await this.#takeLogits(logits);
  }

  /** Gives out single choices, which may be on their way, and waits for those of several rows. */
  async #choose(tails: readonly Tail[], choices: readonly Promise<TokenLogprob>[]): Promise<void> {
    const justChosen = new Map<Promise<number>, number>();
    const several: { readonly piece: Piece; readonly found: Promise<TokenLogprob[]> }[] = [];
    let place = 0;
    for (const { piece, count } of tails) {
      if (piece.rows.wanted.kind === "choices") {
        const found = Promise.all(choices.slice(place, place + count));
        found.catch(() => {}); // it is awaited below
        several.push({ piece, found });
      } else {
        const choice = choices[place]!;
        const token = choice.then(({ id }) => id);
        token.catch(() => {}); // what reads the choice gets the error
        justChosen.set(token, place);
        chosenTokens.add(token);
        const value: Choice = { choice, token };
        piece.outcome = { status: "fulfilled", value };
      }
      place += count;
    }
    this.#justChosen = justChosen;
    for (const { piece, found } of several) {
      await collect(piece, () => this.#wait(found));
    }
  }

  /** Hands each list to what asked for it; reads all logits of a row whose list is not enough. */
  async #useLists(tails: readonly Tail[], count: number): Promise<void> {
    const lists = await this.#wait(this.#plans.top.read(count));
    const short: Tail[] = [];
    for (const tail of tails) {
      const { wanted } = tail.piece.rows;
      const [list, ...others] = lists.splice(0, tail.count);
      if (wanted.kind === "lists") {
        tail.piece.byRow.push(list, ...others);
        continue;
      }
      await settle(tail.piece, async () =>
        list && wanted.kind === "top" ? wanted.use(list) : undefined,
      );
      if (tail.piece.outcome?.status !== "fulfilled") continue;
      if (tail.piece.outcome.value !== undefined) continue;
      tail.piece.outcome = undefined;
      short.push(tail);
    }
    if (short.length === 0) return;
    const commands = new Commands(this.#device);
    this.#copyLogits(commands, short);
    commands.submit();
    await this.#takeLogits(short);
  }

  #copyLogits({ encoder }: Commands, tails: readonly Tail[]): void {
    const { staging, headScratch } = this.#plans;
    const { buffer, stride } = headScratch.logits;
    for (const { to, count } of tails) {
      const at = to * stride * 4;
      encoder.copyBufferToBuffer(buffer, at, staging, at, count * stride * 4);
    }
  }

  /** Takes logits that were copied to the host, [rows, V] of each piece. */
  async #takeLogits(tails: readonly Tail[]): Promise<void> {
    const { staging, headScratch } = this.#plans;
    const { stride } = headScratch.logits;
    const V = headScratch.logits.width;
    const end = Math.max(...tails.map(({ to, count }) => to + count));
    const mapped = new Float32Array(await this.#wait(this.#device.map(staging, end * stride * 4)));
    for (const { piece, first, count, to } of tails) {
      piece.logits ??= new Float32Array(piece.tail * V);
      const at = first - (piece.first + piece.words.length - piece.tail);
      for (let r = 0; r < count; r++) {
        const from = (to + r) * stride;
        piece.logits.set(mapped.subarray(from, from + V), (at + r) * V);
      }
      this.#checkLogits(piece, piece.logits.subarray(at * V, (at + count) * V));
    }
    staging.unmap();
  }

  /** Fails a piece whose logits are no numbers. */
  #checkLogits(piece: Piece, logits: Float32Array): void {
    // A token whose logit is -Infinity is never chosen: that may be meant.
    const broken = firstNotFinite(logits, Number.NEGATIVE_INFINITY);
    if (broken < 0) return;
    const logit = `The logit of token ${broken % this.#plans.headScratch.logits.width} is ${logits[broken]}`;
    piece.outcome = { status: "rejected", reason: new NotFiniteError(logit, this.#kvType) };
  }
}

/** What the rows of a tail are drawn by. */
function drawsOf({ piece, first, count, to }: Tail): RowDraw[] {
  const { wanted, sequence } = piece.rows;
  if (!isChosen(wanted)) throw new Error("no choice is wanted");
  // The last row of a piece chooses the token that follows its sequence.
  const position = sequence.length - (piece.first + piece.words.length - 1 - first);
  return Array.from({ length: count }, (_, i) => {
    return { row: to + i, ...wanted.draw, position: position + i };
  });
}

/** How many tokens of the rows of a tail are listed. */
function listsOf({ piece, first, count, to }: Tail): { row: number; keep: number }[] {
  const { wanted } = piece.rows;
  const at = first - (piece.first + piece.words.length - piece.tail);
  return Array.from({ length: count }, (_, i) => {
    const keep = wanted.kind === "lists" ? wanted.keep[at + i]! : keepOf(wanted);
    return { row: to + i, keep };
  });
}

function keepOf(wanted: Wanted): number {
  return wanted.kind === "top" ? wanted.keep : 0;
}
