// Runs prepared plans: a step writes a few integers, replays a list of dispatches in one pass and one
// submit, and reads back what is wanted of its rows.

import { type KvCache, STEP_TEXTS } from "../../context/cache/kv-cache.ts";
import type { KvType } from "../../kernels/attention/kv-types.ts";
import { Commands, type Dispatch } from "../../kernels/gpu/commands.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import type { KernelLibrary } from "../../kernels/gpu/kernel.ts";
import type { Profiler } from "../../kernels/gpu/profiler.ts";
import { type OnCompiled, rehearse } from "../../kernels/gpu/rehearsal.ts";
import type { LayerTraits } from "../model/traits.ts";
import type { LayerWeights } from "../model/weights.ts";
import { AttentionProbe, type AttentionRow } from "./attention-probe.ts";
import { firstNotFinite, NotFiniteError } from "./not-finite.ts";
import { Outputs } from "./outputs.ts";
import {
  append,
  arrive,
  batchesOf,
  layOut,
  type Piece,
  positionsOf,
  resultOf,
  settle,
  type Tail,
  tailsOf,
  tellEvictions,
} from "./pieces.ts";
import { createPlans, type PlanOptions, type Plans } from "./plans.ts";
import { type ChoiceSlot, LISTS } from "./read-back.ts";
import { isBetween, isChosen, type Outcome, type Step } from "./step.ts";

/** What a step may have at most. */
export interface StepLimits {
  /** T */
  readonly tokens: number;
  /** Rows whose logits are wanted; a sequence that has a step for itself may read more. */
  readonly logits: number;
  /** Rows whose likeliest tokens are wanted. */
  readonly lists: number;
  /** Sequences that have rows in it. */
  readonly texts: number;
}

export class Runner {
  /** V */
  readonly vocabulary: number;
  /** D */
  readonly #width: number;
  readonly limits: StepLimits;
  /** Milliseconds that the host has spent on steps, waiting for the GPU left out. */
  hostMs = 0;
  /** Milliseconds that steps have waited for the GPU. */
  #waitedMs = 0;
  /** Called with the number of kernels compiled so far. */
  readonly #onCompiled: OnCompiled;
  /** Times every kernel if it is set. */
  profiler: Profiler | undefined;
  readonly #device: Device;
  readonly #caches: readonly KvCache[];
  readonly #plans: Plans;
  readonly #traits: readonly LayerTraits[];
  readonly #weights: readonly LayerWeights[];
  /** Settles when the GPU has done the last step whose results were not read back. */
  #ahead: Promise<unknown> = Promise.resolve();
  readonly #outputs: Outputs;

  private constructor(
    device: Device,
    { config, weights, caches, chunk }: PlanOptions,
    plans: Plans,
    onCompiled: OnCompiled,
  ) {
    this.vocabulary = config.vocabulary;
    this.#width = config.width;
    const logits = plans.headScratch.logits.rows;
    this.limits = { tokens: chunk, logits, lists: LISTS, texts: STEP_TEXTS };
    this.#device = device;
    this.#caches = caches;
    this.#plans = plans;
    this.#traits = config.traits;
    this.#weights = weights.layers;
    this.#onCompiled = onCompiled;
    const { kvType } = caches[0]!.shape;
    this.#outputs = new Outputs(device, plans, kvType, (promise) => this.#wait(promise));
  }

  /**
   * Prepares all plans; `compile()` waits for their kernels. `onCompiled` hears of them, then and
   * when more are needed.
   */
  static async create(
    device: Device,
    library: KernelLibrary,
    options: PlanOptions,
    onCompiled: OnCompiled,
  ): Promise<Runner> {
    return new Runner(device, options, await createPlans(device, library, options), onCompiled);
  }

  /**
   * Waits until the kernels of all plans are compiled, before the first step. Returns how many there
   * are.
   */
  compile(): Promise<number> {
    return rehearse(this.#device, this.#plans.dispatches, this.#onCompiled);
  }

  /** Dispatches of a decoding step of one text, at most. */
  get dispatches(): number {
    const { single, choose } = this.#plans;
    return single.layers.length + single.head.length + choose.length;
  }

  /** Settles when no choice is in flight. */
  settled(): Promise<void> {
    return this.#outputs.settled();
  }

  /**
   * Runs a step and reads back what is wanted of each of its rows; a choice may still be on its way.
   * What is wrong with some rows alone is their outcome, what is thrown concerns them all. The caller
   * sees to it that one step runs at a time, and that it is within the limits.
   */
  async run({ rows }: Step): Promise<Outcome[]> {
    const began = performance.now() - this.#waitedMs;
    try {
      const pieces: Piece[] = [];
      for (const each of rows) {
        pieces.push(await this.#wait(arrive(each, this.#outputs.justChosen)));
      }
      const chooses = rows.some(({ wanted }) => isChosen(wanted));
      const slot = chooses ? await this.#wait(this.#outputs.slot()) : undefined;
      await this.#compute(pieces, slot);
      return pieces.map(({ outcome }) => outcome!);
    } finally {
      this.hostMs += performance.now() - this.#waitedMs - began;
    }
  }

  /** Computes a step and sets the outcomes of its pieces. */
  async #compute(all: readonly Piece[], slot: ChoiceSlot | undefined): Promise<void> {
    const [first] = all;
    // What comes first may wait: nothing is appended then.
    const between = first && isBetween(first.rows) ? await this.#planBetween(all) : undefined;
    const pieces = all.filter(append);
    if (pieces.length === 0) return;
    const tokens = layOut(pieces);
    if (between) {
      await between(pieces);
      tellEvictions(pieces);
      return;
    }
    const tails = tailsOf(pieces);
    let commands = this.#layers(pieces, tokens);
    if (tails.length === 0) {
      commands.submit();
      tellEvictions(pieces);
      await this.#keepUp();
    }
    for (const [i, batch] of batchesOf(tails, this.limits.logits).entries()) {
      if (i > 0) commands = this.#begin(tokens);
      this.#head(commands, tokens, batch);
      await this.#outputs.submit(commands, batch, slot);
    }
    if (tails.length > 0) tellEvictions(pieces);
    for (const piece of pieces) await settle(piece, async () => resultOf(piece));
  }

  /**
   * One step ahead of the GPU, not more: else a long prompt would be queued whole before an abort
   * could be heard.
   */
  async #keepUp(): Promise<void> {
    await this.#wait(this.#ahead);
    this.#device.check();
    this.#ahead = this.#device.done().catch(() => {});
  }

  /** Commands of a step of this many tokens. */
  #begin(tokens: number): Commands {
    const { profiler } = this;
    return profiler?.begin(tokens === 1 ? "decode" : "prefill") ?? new Commands(this.#device);
  }

  /** Records the layers for pieces that have been appended. */
  #layers(
    pieces: readonly Piece[],
    tokens: number,
    layers: readonly Dispatch[] = this.#plans.plan(tokens).layers,
  ): Commands {
    const { scratch, params } = this.#plans;
    const words = Uint32Array.from(pieces.flatMap((piece) => piece.words));
    this.#device.queue.writeBuffer(scratch.tokens, 0, words);
    if (scratch.positions) {
      const positions = Uint32Array.from(pieces.flatMap(positionsOf));
      this.#device.queue.writeBuffer(scratch.positions, 0, positions);
    }
    this.#outputs.begin();
    const commands = this.#begin(tokens);
    const steps = this.#caches.map((cache, group) => {
      const own = pieces.map(({ rows, appended }) => ({
        table: rows.sequence.tables[group]!,
        ...appended[group]!,
      }));
      const step = cache.prepare(own);
      const copies = own.flatMap(({ copies }) => copies);
      cache.copyPages(commands, copies);
      params.layers[group]!.write(step);
      return step;
    });
    commands.run(layers, steps[0]!);
    return commands;
  }

  /** Records the head for tails of the pieces of a step of `tokens` tokens. */
  #head(commands: Commands, tokens: number, tails: readonly Tail[]): void {
    const { scratch, headScratch, params, plan } = this.#plans;
    const { to, count } = tails.at(-1)!;
    if (tokens > 1) {
      for (const tail of tails) {
        for (const name of ["x", "attended"] as const) {
          const [from, into] = [scratch[name], headScratch[name]];
          const bytes = from.stride * 4;
          commands.encoder.copyBufferToBuffer(
            from.buffer,
            tail.first * bytes,
            into.buffer,
            tail.to * bytes,
            tail.count * bytes,
          );
        }
      }
    }
    const step = { tokens: to + count };
    params.head.write(step);
    commands.run(plan(step.tokens).head, step);
  }

  /**
   * Prepares a step that reads something between the layers, the same for all of its pieces: what runs
   * it, once they are appended.
   */
  async #planBetween(all: readonly Piece[]): Promise<(pieces: readonly Piece[]) => Promise<void>> {
    const { wanted } = all[0]!.rows;
    if (wanted.kind === "attention") {
      return async ([piece]) => settle(piece!, () => this.#attention(piece!, wanted.layer));
    }
    const depth = wanted.kind === "hidden" ? wanted.depth : 0;
    const count = all.reduce((sum, { words }) => sum + words.length, 0);
    const { dispatches } = this.#plans.hidden(depth, count);
    await this.#wait(rehearse(this.#device, dispatches, this.#onCompiled));
    return async (pieces) => {
      const states = await this.#hidden(pieces, depth);
      for (const [i, piece] of pieces.entries()) {
        await settle(piece, async () => this.#finite(states[i]!, depth));
      }
    };
  }

  /** The hidden states [T, D] of each piece, behind `depth` layers. */
  async #hidden(pieces: readonly Piece[], depth: number): Promise<Float32Array[]> {
    const count = pieces.reduce((sum, { words }) => sum + words.length, 0);
    const { dispatches, states } = this.#plans.hidden(depth, count);
    this.#layers(pieces, count, dispatches).submit();
    const { buffer, stride, width } = states;
    const rows = new Float32Array(
      await this.#wait(this.#device.read(buffer, 0, count * stride * 4)),
    );
    return pieces.map(({ first, words }) => {
      const result = new Float32Array(words.length * width);
      for (let t = 0; t < words.length; t++) {
        const from = (first + t) * stride;
        result.set(rows.subarray(from, from + width), t * width);
      }
      return result;
    });
  }

  /** Hidden states, if all are numbers. */
  #finite(states: Float32Array, depth: number): Float32Array {
    const broken = firstNotFinite(states);
    if (broken < 0) return states;
    const token = Math.floor(broken / this.#width);
    const what = `A hidden state of layer ${depth} (token ${token} of a step) is ${states[broken]}`;
    throw new NotFiniteError(what, this.#kvType);
  }

  async #attention(piece: Piece, layer: number): Promise<AttentionRow[]> {
    const { several, scratch, plan } = this.#plans;
    const count = piece.words.length;
    const group = this.#caches.findIndex(({ layers }) => layers.has(layer));
    const cache = this.#caches[group]!;
    const target = several.targets[group]!;
    const probe = await AttentionProbe.create(this.#device, target, cache, scratch, {
      layer,
      count,
      traits: this.#traits[layer]!,
      weights: this.#weights[layer]!,
    });
    try {
      // Only the kernel of the weights is new. Storing keys is the plans', which has run: it must not
      // run again here, when a sequence may hold what the scratch would overwrite.
      await this.#wait(rehearse(this.#device, probe.dispatches, this.#onCompiled));
      const commands = this.#layers([piece], count, probe.insertInto(plan(count).layers));
      probe.ask(cache.wholeItem(0));
      commands.submit();
      return await this.#wait(probe.rows(piece.rows.sequence.tables[group]!));
    } finally {
      probe.release();
    }
  }

  async #wait<T>(promise: Promise<T>): Promise<T> {
    const began = performance.now();
    try {
      return await promise;
    } finally {
      this.#waitedMs += performance.now() - began;
    }
  }

  get #kvType(): KvType {
    return this.#caches[0]!.shape.kvType;
  }
}
