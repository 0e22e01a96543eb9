// Runs prepared plans: a step writes a few integers, replays a list of dispatches in one pass and
// one submit, and reads back the wanted results.

import type { KvCache } from "../../context/cache/kv-cache.ts";
import type { Sequence } from "../../context/cache/sequence.ts";
import type { KvType } from "../../kernels/attention/kv-types.ts";
import { Commands, type Dispatch } from "../../kernels/gpu/commands.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import type { KernelLibrary } from "../../kernels/gpu/kernel.ts";
import type { Profiler } from "../../kernels/gpu/profiler.ts";
import { type OnCompiled, rehearse } from "../../kernels/gpu/rehearsal.ts";
import type { LayerTraits } from "../model/traits.ts";
import type { Draw, TopLogits } from "../sampler/sampler.ts";
import { AttentionProbe, type AttentionRow } from "./attention-probe.ts";
import { firstNotFinite, NotFiniteError } from "./not-finite.ts";
import { createPlans, type Plan, type PlanOptions, type Plans } from "./plans.ts";
import {
  type Choice,
  chosenTokens,
  type Output,
  type Rows,
  type Step,
  type Wanted,
} from "./step.ts";

/** Ids, or the token that the last step chose on the GPU. */
type Tokens = Rows["tokens"];

export class Runner {
  /** V */
  readonly vocabulary: number;
  /** Milliseconds that the host has spent on steps, without the time that it waited for the GPU. */
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
  /** Settles when the GPU has done the last step whose results were not read back. */
  #ahead: Promise<unknown> = Promise.resolve();
  /** The choice of the last step, in the buffer that the next step reads its token from. */
  #justChosen: Promise<number> | undefined;

  private constructor(
    device: Device,
    { config, caches }: PlanOptions,
    plans: Plans,
    onCompiled: OnCompiled,
  ) {
    this.vocabulary = config.vocabulary;
    this.#device = device;
    this.#caches = caches;
    this.#plans = plans;
    this.#traits = config.traits;
    this.#onCompiled = onCompiled;
  }

  /**
   * Prepares all plans; `compile()` waits for their kernels. `onCompiled` reports these, and
   * kernels that are needed later.
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
   * Waits until the kernels of all plans are compiled, before the first step. Returns how many
   * there are.
   */
  compile(): Promise<number> {
    return rehearse(this.#device, this.#plans.dispatches, this.#onCompiled);
  }

  /** Dispatches of a decoding step, at most. */
  get dispatches(): number {
    const { single, choose } = this.#plans;
    return single.layers.length + single.head.length + choose.length;
  }

  /** Settles when no choice is in flight. */
  settled(): Promise<void> {
    return this.#plans.choices.settled();
  }

  /** Runs a step and reads back the wanted results. The caller must run one step at a time. */
  async run<W extends Wanted>({ rows: [rows] }: Step<W>): Promise<Output<W>> {
    const began = performance.now() - this.#waitedMs;
    try {
      const output = (await this.#outputOf(rows)) as Output<W>;
      rows.sequence.tellEvicted();
      return output;
    } finally {
      this.hostMs += performance.now() - this.#waitedMs - began;
    }
  }

  async #outputOf({ sequence, tokens: given, wanted }: Rows): Promise<unknown> {
    const isOnGpu = given === this.#justChosen;
    const tokens = "length" in given || isOnGpu ? given : [await this.#wait(given)];
    if ("length" in tokens && sequence.ids.length < sequence.length) {
      await this.#wait(sequence.settled());
    }
    switch (wanted.kind) {
      case "nothing":
        return this.#store(sequence, tokens);
      case "logits":
        return this.#logits(sequence, tokens, wanted.rows);
      case "top":
        return this.#top(sequence, tokens, wanted.keep, wanted.use);
      case "choice":
        return this.#choose(sequence, tokens, wanted.draw);
      case "hidden":
        return this.#hidden(sequence, tokens, wanted.depth);
      case "attention":
        return this.#attention(sequence, tokens, wanted.layer);
    }
  }

  async #store(sequence: Sequence, tokens: Tokens): Promise<void> {
    this.#layers(sequence, tokens).submit();
    // Stay one step ahead of the GPU, not more: else a whole long prompt would be queued before an
    // abort could stop it.
    await this.#wait(this.#ahead);
    this.#device.check();
    this.#ahead = this.#device.done().catch(() => {});
  }

  async #logits(sequence: Sequence, tokens: Tokens, wanted: number): Promise<Float32Array> {
    const count = countOf(tokens);
    const most = this.#plans.headScratch.logits.rows;
    const result = new Float32Array(wanted * this.vocabulary);
    if (wanted === 0) {
      await this.#store(sequence, tokens);
      return result;
    }
    let commands = this.#layers(sequence, tokens);
    for (let row = 0; row < wanted; row += most) {
      if (row > 0) commands = this.#begin(count);
      const rows = Math.min(most, wanted - row);
      this.#head(commands, count, count - wanted + row, rows);
      await this.#readLogits(commands, result, row, rows);
    }
    return result;
  }

  async #top<R>(
    sequence: Sequence,
    tokens: Tokens,
    keep: number,
    use: (top: TopLogits) => R | undefined,
  ): Promise<R | Float32Array> {
    const count = countOf(tokens);
    const commands = this.#layers(sequence, tokens);
    this.#head(commands, count, count - 1, 1);
    this.#writeChoice({ keep });
    commands.run(this.#plans.findTop, { tokens: 1 });
    this.#plans.top.copyTo(commands.encoder);
    commands.submit();
    const top = await this.#wait(this.#plans.top.read());
    const used = top && use(top);
    if (used !== undefined) return used;
    const all = new Float32Array(this.vocabulary);
    await this.#readLogits(this.#begin(count), all, 0, 1);
    return all;
  }

  /** Returns as soon as the step is submitted. */
  async #choose(sequence: Sequence, tokens: Tokens, draw: Draw): Promise<Choice> {
    const slot = await this.#wait(this.#plans.choices.slot());
    const count = countOf(tokens);
    const commands = this.#layers(sequence, tokens);
    this.#head(commands, count, count - 1, 1);
    this.#writeChoice({ ...draw, position: sequence.length });
    commands.run(this.#plans.choose, { tokens: 1 });
    slot.copyTo(commands.encoder);
    commands.submit();
    const choice = slot.read();
    const token = choice.then(({ id }) => id);
    token.catch(() => {}); // errors reach the caller that awaits `choice`
    this.#justChosen = token;
    chosenTokens.add(token);
    return { choice, token };
  }

  async #hidden(sequence: Sequence, tokens: Tokens, depth: number): Promise<Float32Array> {
    const { dispatches, states } = this.#plans.hidden(depth);
    await this.#wait(rehearse(this.#device, dispatches, this.#onCompiled));
    this.#layers(sequence, tokens, dispatches).submit();
    const { buffer, stride, width } = states;
    const count = countOf(tokens);
    const rows = new Float32Array(
      await this.#wait(this.#device.read(buffer, 0, count * stride * 4)),
    );
    const result = new Float32Array(count * width);
    for (let t = 0; t < count; t++) {
      result.set(rows.subarray(t * stride, t * stride + width), t * width);
    }
    const broken = firstNotFinite(result);
    if (broken >= 0) {
      const at = `layer ${depth} (token ${Math.floor(broken / width)} of a step)`;
      throw new NotFiniteError(`A hidden state of ${at} is ${result[broken]}`, this.#kvType);
    }
    return result;
  }

  async #attention(sequence: Sequence, tokens: Tokens, layer: number): Promise<AttentionRow[]> {
    const { several, scratch } = this.#plans;
    const count = countOf(tokens);
    const group = this.#caches.findIndex(({ layers }) => layers.has(layer));
    const cache = this.#caches[group]!;
    const target = several.targets[group]!;
    const probe = await AttentionProbe.create(this.#device, target, cache, scratch, {
      layer,
      count,
      traits: this.#traits[layer]!,
    });
    try {
      // Only the kernel of the weights has to be compiled. That which stores keys is compiled
      // already, and must not run as a rehearsal now: it would write into pages that sequences
      // hold.
      await this.#wait(rehearse(this.#device, probe.dispatches, this.#onCompiled));
      const { layers } = this.#plan(count);
      const commands = this.#layers(sequence, tokens, probe.insertInto(layers));
      probe.ask(cache.wholeItem(0));
      commands.submit();
      return await this.#wait(probe.rows(sequence.tables[group]!));
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

  /** Commands of a step of this many tokens. */
  #begin(tokens: number): Commands {
    const { profiler } = this;
    return profiler?.begin(tokens === 1 ? "decode" : "prefill") ?? new Commands(this.#device);
  }

  get #kvType(): KvType {
    return this.#caches[0]!.shape.kvType;
  }

  /** Appends tokens to a sequence and records the layers for them. */
  #layers(
    sequence: Sequence,
    tokens: Tokens,
    layers: readonly Dispatch[] = this.#plan(countOf(tokens)).layers,
  ): Commands {
    const { scratch, params } = this.#plans;
    const slots = sequence.append(tokens);
    if ("length" in tokens) {
      this.#device.queue.writeBuffer(scratch.tokens, 0, Uint32Array.from(tokens));
    }
    this.#justChosen = undefined;
    const steps = this.#caches.map((cache, group) => {
      const step = cache.prepare([{ table: sequence.tables[group]!, slots: slots[group]! }]);
      params.layers[group]!.write(step);
      return step;
    });
    const commands = this.#begin(countOf(tokens));
    commands.run(layers, steps[0]!);
    return commands;
  }

  /** The forward pass for this many tokens. */
  #plan(tokens: number): Plan {
    return tokens === 1 ? this.#plans.single : this.#plans.several;
  }

  /** Records the output head for `rows` of the `count` tokens of a step. */
  #head(commands: Commands, count: number, first: number, rows: number): void {
    if (count > 1) this.#takeRows(commands, first, rows);
    const step = { tokens: rows };
    this.#plans.params.head.write(step);
    commands.run(this.#plan(rows).head, step);
  }

  /** Copies rows of the layers' results to the buffers that the output head reads. */
  #takeRows({ encoder }: Commands, first: number, rows: number): void {
    const { scratch, headScratch } = this.#plans;
    for (const name of ["x", "attended"] as const) {
      const [from, to] = [scratch[name], headScratch[name]];
      const rowBytes = from.stride * 4;
      encoder.copyBufferToBuffer(from.buffer, first * rowBytes, to.buffer, 0, rows * rowBytes);
    }
  }

  #writeChoice({ temperature = 0, seed = 0, position = 0, keep = 1 }): void {
    const seed_low = seed >>> 0;
    const seed_high = Math.floor(seed / 2 ** 32);
    this.#plans.params.choice.write({ temperature, seed_low, seed_high, position, keep });
  }

  /** Submits, and copies the logits of `rows` tokens into `result` [.., V] from row `to` on. */
  async #readLogits(
    commands: Commands,
    result: Float32Array,
    to: number,
    rows: number,
  ): Promise<void> {
    const { staging, headScratch } = this.#plans;
    const { buffer, stride } = headScratch.logits;
    const V = this.vocabulary;
    const bytes = rows * stride * 4;
    commands.encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
    commands.submit();
    const mapped = new Float32Array(await this.#wait(this.#device.map(staging, bytes)));
    for (let r = 0; r < rows; r++) {
      result.set(mapped.subarray(r * stride, r * stride + V), (to + r) * V);
    }
    staging.unmap();
    // -Infinity is allowed: a model may exclude a token by it.
    const read = result.subarray(to * V, (to + rows) * V);
    const broken = firstNotFinite(read, Number.NEGATIVE_INFINITY);
    if (broken >= 0) {
      const logit = `The logit of token ${broken % V} is ${read[broken]}`;
      throw new NotFiniteError(logit, this.#kvType);
    }
  }
}

function countOf(tokens: Tokens): number {
  return "length" in tokens ? tokens.length : 1;
}
