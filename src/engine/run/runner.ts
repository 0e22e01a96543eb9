// Runs prepared plans: a step writes a few integers, replays a list of dispatches in one pass and one submit, and
// reads back the logits that are wanted.

import type { KvCache } from "../../context/cache/kv-cache.ts";
import type { PageTable } from "../../context/cache/page-table.ts";
import type { KvType } from "../../kernels/attention/kv-types.ts";
import { Commands, type Dispatch } from "../../kernels/gpu/commands.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import type { KernelLibrary } from "../../kernels/gpu/kernel.ts";
import type { Profiler } from "../../kernels/gpu/profiler.ts";
import { type OnCompiled, rehearse } from "../../kernels/gpu/rehearsal.ts";
import type { TokenLogprob, TopLogits } from "../sampler/sampler.ts";
import { AttentionProbe } from "./attention-probe.ts";
import type { ChosenRun } from "./gpu-choice.ts";
import { firstNotFinite, NotFiniteError } from "./not-finite.ts";
import { createPlans, type Plan, type PlanOptions, type Plans } from "./plans.ts";

export class Runner {
  /** The most tokens of a step. */
  readonly chunk: number;
  /** V */
  readonly vocabulary: number;
  /** Milliseconds that the host has spent on steps, waiting for the GPU left out. */
  hostMs = 0;
  /** Hears of kernels while they are compiled. */
  readonly #onCompiled: OnCompiled;
  /** Times every kernel, where there is one. */
  profiler: Profiler | undefined;
  readonly #device: Device;
  readonly #cache: KvCache;
  readonly #plans: Plans;
  /** Settles when the GPU has done the last step that nothing was read back of. */
  #ahead: Promise<unknown> = Promise.resolve();
  /** Whose next token lies on the GPU already. */
  #chosenFor: ChosenRun | undefined;

  private constructor(
    device: Device,
    { config, cache, chunk }: PlanOptions,
    plans: Plans,
    onCompiled: OnCompiled,
  ) {
    this.chunk = chunk;
    this.vocabulary = config.vocabulary;
    this.#device = device;
    this.#cache = cache;
    this.#plans = plans;
    this.#onCompiled = onCompiled;
  }

  /** Prepares all plans; `compile()` waits for their kernels. `onCompiled` hears of them, then and when more are needed. */
  static async create(
    device: Device,
    library: KernelLibrary,
    options: PlanOptions,
    onCompiled: OnCompiled,
  ): Promise<Runner> {
    return new Runner(device, options, await createPlans(device, library, options), onCompiled);
  }

  /** Waits until the kernels of all plans are compiled, before the first step. Returns how many there are. */
  compile(): Promise<number> {
    return rehearse(this.#device, this.#plans.dispatches, this.#onCompiled);
  }

  /** Dispatches of a decoding step, at most. */
  get dispatches(): number {
    const { single, choose } = this.#plans;
    return single.layers.length + single.head.length + choose.length;
  }

  /** Settles when nothing is on its way from the GPU. */
  settled(): Promise<void> {
    return this.#plans.choices.settled();
  }

  /** Prepares to read the attention weights of a layer. */
  async probe(layer: number): Promise<AttentionProbe> {
    const { several, scratch } = this.#plans;
    const probe = await AttentionProbe.create(
      this.#device,
      several.target,
      this.#cache,
      scratch,
      layer,
    );
    // Only the kernel of the weights is new. Storing keys is the plans', which has run: it must not run again here, when a
    // sequence may hold what the scratch would overwrite.
    await rehearse(this.#device, probe.dispatches, this.#onCompiled);
    return probe;
  }

  /** Commands of a step of so many tokens. */
  #begin(tokens: number): Commands {
    const { profiler } = this;
    return profiler?.begin(tokens === 1 ? "decode" : "prefill") ?? new Commands(this.#device);
  }

  /**
   * Appends one token, that which the last step has chosen where it was of the same run or else `token`, and has the GPU
   * choose the next. Returns when the step is submitted.
   */
  async choose(
    run: ChosenRun,
    token: Promise<number>,
  ): Promise<{ readonly choice: Promise<TokenLogprob> }> {
    const slot = await this.#plans.choices.slot();
    const given = this.#chosenFor === run ? undefined : await token;
    const began = performance.now();
    const commands = this.#layers(run.sequence, given === undefined ? 1 : Uint32Array.of(given));
    this.#chosenFor = run;
    this.#head(commands, 1, 0, 1);
    const { seed, temperature } = run.draw;
    this.#writeChoice({ temperature, seed, position: run.sequence.length });
    commands.run(this.#plans.choose, { tokens: 1 });
    slot.copyTo(commands.encoder);
    commands.submit();
    this.hostMs += performance.now() - began;
    return { choice: slot.read() };
  }

  /**
   * Appends `tokens` to a sequence and hands `use` the `keep` likeliest tokens after the last of them, or a few more;
   * where it makes nothing of them, the logits [V] are returned.
   */
  async top<R>(
    sequence: PageTable,
    tokens: Uint32Array<ArrayBuffer>,
    keep: number,
    use: (top: TopLogits) => R | undefined,
  ): Promise<R | Float32Array> {
    const began = performance.now();
    const commands = this.#layers(sequence, tokens);
    this.#head(commands, tokens.length, tokens.length - 1, 1);
    this.#writeChoice({ keep });
    commands.run(this.#plans.findTop, { tokens: 1 });
    this.#plans.top.copyTo(commands.encoder);
    commands.submit();
    this.hostMs += performance.now() - began;
    const top = await this.#plans.top.read();
    const used = top && use(top);
    if (used !== undefined) return used;
    const all = new Float32Array(this.vocabulary);
    await this.#readLogits(this.#begin(tokens.length), all, 0, 1);
    return all;
  }

  /**
   * Appends `tokens` to a sequence and returns the logits [wanted, V] after the last `wanted` of them. The caller sees
   * to it that one step runs at a time. A probe reads the attention weights of a layer on the way.
   */
  async step(
    sequence: PageTable,
    tokens: Uint32Array<ArrayBuffer>,
    wanted: number,
    probe?: AttentionProbe,
  ): Promise<Float32Array> {
    const began = performance.now();
    let waited = 0;
    const count = tokens.length;
    const most = this.#plans.headScratch.logits.rows;
    const result = new Float32Array(wanted * this.vocabulary);
    const { layers } = this.#plan(count);
    const watched = probe ? probe.insertInto(layers) : layers;
    let commands = this.#layers(sequence, tokens, watched);
    if (wanted === 0) {
      commands.submit();
      const submitted = performance.now();
      // One step ahead of the GPU, not more: else a long prompt would be queued whole before an abort could be heard.
      await this.#ahead;
      this.#device.check();
      this.#ahead = this.#device.done().catch(() => {});
      waited += performance.now() - submitted;
    }
    for (let row = 0; row < wanted; row += most) {
      if (row > 0) commands = this.#begin(count);
      const rows = Math.min(most, wanted - row);
      this.#head(commands, count, count - wanted + row, rows);
      waited += await this.#readLogits(commands, result, row, rows);
    }
    this.hostMs += performance.now() - began - waited;
    return result;
  }

  /**
   * Appends `tokens` to a sequence, through its first `depth` layers only, and returns their hidden states [T, D] there: see
   * `hiddenStates`. Such a sequence holds nothing for later layers to go on from.
   */
  async hidden(
    sequence: PageTable,
    tokens: Uint32Array<ArrayBuffer>,
    depth: number,
  ): Promise<Float32Array> {
    const began = performance.now();
    const { dispatches, states } = this.#plans.hidden(depth);
    await rehearse(this.#device, dispatches, this.#onCompiled);
    this.#layers(sequence, tokens, dispatches).submit();
    const submitted = performance.now();
    const { buffer, stride, width } = states;
    const rows = new Float32Array(await this.#device.read(buffer, 0, tokens.length * stride * 4));
    const waited = performance.now() - submitted;
    const result = new Float32Array(tokens.length * width);
    for (let t = 0; t < tokens.length; t++) {
      result.set(rows.subarray(t * stride, t * stride + width), t * width);
    }
    const broken = firstNotFinite(result);
    if (broken >= 0) {
      const at = `layer ${depth} (token ${Math.floor(broken / width)} of a step)`;
      throw new NotFiniteError(`A hidden state of ${at} is ${result[broken]}`, this.#kvType);
    }
    this.hostMs += performance.now() - began - waited;
    return result;
  }

  get #kvType(): KvType {
    return this.#cache.shape.kvType;
  }

  /** Records the layers for tokens, or for as many that lie on the GPU already. */
  #layers(
    sequence: PageTable,
    tokens: Uint32Array<ArrayBuffer> | 1,
    layers: readonly Dispatch[] = this.#plan(tokens === 1 ? 1 : tokens.length).layers,
  ): Commands {
    const { scratch, params } = this.#plans;
    if (tokens !== 1) this.#device.queue.writeBuffer(scratch.tokens, 0, tokens);
    this.#chosenFor = undefined;
    const count = tokens === 1 ? 1 : tokens.length;
    const step = this.#cache.prepare(sequence, count);
    params.layers.write(step);
    const commands = this.#begin(count);
    commands.run(layers, step);
    return commands;
  }

  /** The forward pass for so many tokens. */
  #plan(tokens: number): Plan {
    return tokens === 1 ? this.#plans.single : this.#plans.several;
  }

  /** Records the head for `rows` of the `count` tokens of a step. */
  #head(commands: Commands, count: number, first: number, rows: number): void {
    if (count > 1) this.#takeRows(commands, first, rows);
    const step = { tokens: rows };
    this.#plans.params.head.write(step);
    commands.run(this.#plan(rows).head, step);
  }

  /** Copies rows of what the layers have computed to where the head goes on with them. */
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

  /** Submits, and takes the logits of `rows` tokens into `result` [.., V] from row `to` on. Returns milliseconds waited. */
  async #readLogits(
    commands: Commands,
    result: Float32Array,
    to: number,
    rows: number,
  ): Promise<number> {
    const { staging, headScratch } = this.#plans;
    const { buffer, stride } = headScratch.logits;
    const V = this.vocabulary;
    const bytes = rows * stride * 4;
    commands.encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
    commands.submit();
    const submitted = performance.now();
    const mapped = new Float32Array(await this.#device.map(staging, bytes));
    const waited = performance.now() - submitted;
    for (let r = 0; r < rows; r++) {
      result.set(mapped.subarray(r * stride, r * stride + V), (to + r) * V);
    }
    staging.unmap();
    // A token whose logit is -Infinity is never chosen: that may be meant.
    const read = result.subarray(to * V, (to + rows) * V);
    const broken = firstNotFinite(read, Number.NEGATIVE_INFINITY);
    if (broken >= 0) {
      const logit = `The logit of token ${broken % V} is ${read[broken]}`;
      throw new NotFiniteError(logit, this.#kvType);
    }
    return waited;
  }
}
