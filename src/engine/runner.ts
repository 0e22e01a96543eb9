// Runs prepared plans: a step writes a few integers, replays a list of dispatches in one pass and one submit, and
// reads back the logits that are wanted.

import type { KvCache } from "../context/cache/kv-cache.ts";
import type { PageTable } from "../context/cache/page-table.ts";
import type { Device } from "../kernels/device.ts";
import type { HeadShape } from "../kernels/head-shape.ts";
import type { KernelLibrary } from "../kernels/kernel.ts";
import { Ops } from "../kernels/ops.ts";
import { PARAM_BLOCK_BYTES, ParamBlock } from "../kernels/params.ts";
import type { Profiler } from "../kernels/profiler.ts";
import { Commands, type Dispatch } from "../kernels/recorder.ts";
import { USAGE } from "../kernels/usage.ts";
import { AttentionProbe } from "./attention-probe.ts";
import type { ModelConfig } from "./config.ts";
import { CHOICES_BYTES, Choices, type GreedyRun } from "./greedy.ts";
import { type HeadScratch, head, layers, type Scratch } from "./model.ts";
import type { TokenLogprob } from "./sampler/sampler.ts";
import { createScratch, scratchBytes } from "./scratch.ts";
import type { ModelWeights } from "./weights.ts";

export interface RunnerOptions {
  readonly config: ModelConfig;
  readonly weights: ModelWeights;
  readonly cache: KvCache;
  /** The most tokens of a step. */
  readonly chunk: number;
}

interface Plan {
  readonly ops: Ops;
  readonly layers: readonly Dispatch[];
  readonly head: readonly Dispatch[];
}

export class Runner {
  /** The most tokens of a step. */
  readonly chunk: number;
  /** V */
  readonly vocabulary: number;
  /** Milliseconds that the host has spent on steps, waiting for the GPU left out. */
  hostMs = 0;
  /** Times every kernel, where there is one. */
  profiler: Profiler | undefined;
  readonly #device: Device;
  readonly #cache: KvCache;
  readonly #scratch: Scratch;
  readonly #headScratch: HeadScratch;
  readonly #staging: GPUBuffer;
  readonly #layerParams: ParamBlock;
  readonly #headParams: ParamBlock;
  /** Settles when the GPU has done the last step that nothing was read back of. */
  #ahead: Promise<unknown> = Promise.resolve();
  /** For one token, and for several. */
  readonly #single: Plan;
  readonly #several: Plan;
  readonly #choices: Choices;
  /** Of one token, up to the choice of the next. */
  readonly #greedy: readonly Dispatch[];
  /** Whose next token lies on the GPU already. */
  #chosenFor: GreedyRun | undefined;

  private constructor(
    device: Device,
    { config, cache, chunk }: RunnerOptions,
    { scratch, head }: { scratch: Scratch; head: HeadScratch },
    staging: GPUBuffer,
    params: { layers: ParamBlock; head: ParamBlock },
    plans: { single: Plan; several: Plan },
    choices: Choices,
  ) {
    this.chunk = chunk;
    this.vocabulary = config.vocabulary;
    this.#device = device;
    this.#cache = cache;
    this.#scratch = scratch;
    this.#headScratch = head;
    this.#staging = staging;
    this.#layerParams = params.layers;
    this.#headParams = params.head;
    this.#single = plans.single;
    this.#several = plans.several;
    this.#choices = choices;
    const { single } = plans;
    const choose = single.ops.argmax(head.logits, scratch.tokens, choices.buffer);
    this.#greedy = [...single.layers, ...single.head, ...choose];
  }

  /** Allocates the scratch, prepares both plans and lets their kernels compile; `library.ready()` waits for them. */
  static async create(
    device: Device,
    library: KernelLibrary,
    options: RunnerOptions,
  ): Promise<Runner> {
    const { config, weights, cache, chunk } = options;
    const { scratch, head: headScratch } = await createScratch(device, config, cache, chunk);
    const { size } = headScratch.logits.buffer;
    const staging = await device.createBuffer(
      "logits (read back)",
      size,
      USAGE.COPY_DST | USAGE.MAP_READ,
    );
    const params = {
      layers: await ParamBlock.create(device, "params of the layers"),
      head: await ParamBlock.create(device, "params of the head"),
    };
    const plan = (single: boolean): Plan => {
      const ops = new Ops(library, params.layers, single);
      // A single token is computed where the head looks for it.
      const { x, attended } = single ? headScratch : scratch;
      return {
        ops,
        layers: layers(ops, config, weights, cache, { ...scratch, x, attended }),
        head: head(new Ops(library, params.head, single), config, weights, headScratch),
      };
    };
    const plans = { single: plan(true), several: plan(false) };
    const choices = await Choices.create(device);
    const activations = { scratch, head: headScratch };
    return new Runner(device, options, activations, staging, params, plans, choices);
  }

  /** Dispatches of a decoding step, at most. */
  get dispatches(): number {
    return this.#greedy.length;
  }

  /** Settles when nothing is on its way from the GPU. */
  settled(): Promise<void> {
    return this.#choices.settled();
  }

  /** Prepares to read the attention weights of a layer. */
  probe(layer: number): Promise<AttentionProbe> {
    const { rotated } = this.#scratch;
    return AttentionProbe.create(this.#device, this.#several.ops, this.#cache, rotated, layer);
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
  async greedy(
    run: GreedyRun,
    token: Promise<number>,
  ): Promise<{ readonly choice: Promise<TokenLogprob> }> {
    const slot = await this.#choices.slot();
    const given = this.#chosenFor === run ? undefined : await token;
    const began = performance.now();
    const { queue } = this.#device;
    if (given !== undefined) queue.writeBuffer(this.#scratch.tokens, 0, Uint32Array.of(given));
    this.#chosenFor = run;
    const step = this.#cache.prepare(run.sequence, 1);
    this.#layerParams.write(step);
    this.#headParams.write({ tokens: 1 });
    const commands = this.#begin(1);
    commands.run(this.#greedy, step);
    slot.copyTo(commands.encoder);
    commands.submit();
    this.hostMs += performance.now() - began;
    return { choice: slot.read() };
  }

  /** Copies rows of what the layers have computed to where the head goes on with them. */
  #takeRows({ encoder }: Commands, first: number, rows: number): void {
    for (const name of ["x", "attended"] as const) {
      const [from, to] = [this.#scratch[name], this.#headScratch[name]];
      const rowBytes = from.stride * 4;
      encoder.copyBufferToBuffer(from.buffer, first * rowBytes, to.buffer, 0, rows * rowBytes);
    }
  }

  /**
   * Appends `tokens` to a sequence and returns the logits [wanted, V] after the last `wanted` of them. The caller sees
   * to it that one step runs at a time. A probe reads the attention weights of a layer on the way.
   */
  async step(
    sequence: PageTable,
    tokens: Uint32Array,
    wanted: number,
    probe?: AttentionProbe,
  ): Promise<Float32Array> {
    const began = performance.now();
    let waited = 0;
    const { queue } = this.#device;
    const { logits } = this.#headScratch;
    const count = tokens.length;
    const result = new Float32Array(wanted * this.vocabulary);

    queue.writeBuffer(this.#scratch.tokens, 0, tokens);
    this.#chosenFor = undefined;
    const step = this.#cache.prepare(sequence, count);
    this.#layerParams.write(step);
    let commands = this.#begin(count);
    const plan = count === 1 ? this.#single : this.#several;
    commands.run(probe ? probe.insertInto(plan.layers) : plan.layers, step);
    if (wanted === 0) {
      commands.submit();
      const submitted = performance.now();
      // One step ahead of the GPU, not more: else a long prompt would be queued whole before an abort could be heard.
      await this.#ahead;
      this.#device.check();
      this.#ahead = this.#device.done().catch(() => {});
      waited += performance.now() - submitted;
    }

    for (let row = 0; row < wanted; row += logits.rows) {
      const rows = Math.min(logits.rows, wanted - row);
      const headStep = { tokens: rows };
      if (count > 1) this.#takeRows(commands, count - wanted + row, rows);
      this.#headParams.write(headStep);
      commands.run((rows === 1 ? this.#single : this.#several).head, headStep);
      const bytes = rows * logits.stride * 4;
      commands.encoder.copyBufferToBuffer(logits.buffer, 0, this.#staging, 0, bytes);
      commands.submit();
      const submitted = performance.now();
      const mapped = new Float32Array(await this.#device.map(this.#staging, bytes));
      waited += performance.now() - submitted;
      for (let r = 0; r < rows; r++) {
        const from = r * logits.stride;
        result.set(mapped.subarray(from, from + this.vocabulary), (row + r) * this.vocabulary);
      }
      this.#staging.unmap();
      commands = this.#begin(count);
    }
    this.hostMs += performance.now() - began - waited;
    return result;
  }
}

/** Bytes of everything that a runner allocates. */
export function runnerBytes(config: ModelConfig, shape: HeadShape, chunk: number): number {
  const { all, logits } = scratchBytes(config, shape, chunk);
  const staging = logits;
  return all + staging + 2 * PARAM_BLOCK_BYTES + CHOICES_BYTES;
}
