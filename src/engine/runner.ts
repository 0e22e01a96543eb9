// Runs prepared plans: a step writes a few integers, replays a list of dispatches in one pass and one submit, and
// reads back the logits that are wanted.

import { type KvCache, partialRowsOf } from "../context/cache/kv-cache.ts";
import type { PageTable } from "../context/cache/page-table.ts";
import { bufferBytes, CapacityError, type Device } from "../kernels/device.ts";
import { type HeadShape, partialSizes, rotatedSize } from "../kernels/head-shape.ts";
import type { KernelLibrary } from "../kernels/kernel.ts";
import { Ops } from "../kernels/ops.ts";
import { PARAM_BLOCK_BYTES, ParamBlock } from "../kernels/params.ts";
import { type Dispatch, record } from "../kernels/recorder.ts";
import { type Activations, activationBytes, createActivations } from "../kernels/tensor.ts";
import { USAGE } from "../kernels/usage.ts";
import { AttentionProbe } from "./attention-probe.ts";
import type { ModelConfig } from "./config.ts";
import { CHOICES_BYTES, Choices, type GreedyRun } from "./greedy.ts";
import { head, layers, type Scratch } from "./model.ts";
import type { TokenLogprob } from "./sampler/sampler.ts";
import type { ModelWeights } from "./weights.ts";

export interface RunnerOptions {
  readonly config: ModelConfig;
  readonly weights: ModelWeights;
  readonly cache: KvCache;
  /** The most tokens of a step. */
  readonly chunk: number;
}

/** Bytes of logits that are held at a time when many rows are wanted. */
const LOGITS_BYTES = 32 << 20;

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
  readonly #device: Device;
  readonly #cache: KvCache;
  readonly #scratch: Scratch;
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
    scratch: Scratch,
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
    this.#staging = staging;
    this.#layerParams = params.layers;
    this.#headParams = params.head;
    this.#single = plans.single;
    this.#several = plans.several;
    this.#choices = choices;
    const { ops, layers, head } = plans.single;
    const choose = ops.argmax(scratch.logits, scratch.tokens, choices.buffer);
    this.#greedy = [...layers, ...head, ...choose];
  }

  /** Allocates the scratch, prepares both plans and lets their kernels compile; `library.ready()` waits for them. */
  static async create(
    device: Device,
    library: KernelLibrary,
    options: RunnerOptions,
  ): Promise<Runner> {
    const { config, weights, cache } = options;
    const scratch = await createScratch(device, options);
    const { size } = scratch.logits.buffer;
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
      return {
        ops,
        layers: layers(ops, config, weights, cache, scratch),
        head: head(new Ops(library, params.head, single), config, weights, scratch),
      };
    };
    const plans = { single: plan(true), several: plan(false) };
    const choices = await Choices.create(device);
    return new Runner(device, options, scratch, staging, params, plans, choices);
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
    const { queue, handle } = this.#device;
    if (given !== undefined) queue.writeBuffer(this.#scratch.tokens, 0, Uint32Array.of(given));
    this.#chosenFor = run;
    const step = this.#cache.prepare(run.sequence, 1);
    this.#layerParams.write(step);
    this.#headParams.write({ tokens: 1, first: 0 });
    const encoder = handle.createCommandEncoder();
    record(encoder, this.#greedy, step);
    slot.copyTo(encoder);
    queue.submit([encoder.finish()]);
    this.hostMs += performance.now() - began;
    return { choice: slot.read() };
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
    const { queue, handle } = this.#device;
    const { logits } = this.#scratch;
    const count = tokens.length;
    const result = new Float32Array(wanted * this.vocabulary);

    queue.writeBuffer(this.#scratch.tokens, 0, tokens);
    this.#chosenFor = undefined;
    const step = this.#cache.prepare(sequence, count);
    this.#layerParams.write(step);
    let encoder = handle.createCommandEncoder();
    const plan = count === 1 ? this.#single : this.#several;
    record(encoder, probe ? probe.insertInto(plan.layers) : plan.layers, step);
    if (wanted === 0) {
      queue.submit([encoder.finish()]);
      const submitted = performance.now();
      // One step ahead of the GPU, not more: else a long prompt would be queued whole before an abort could be heard.
      await this.#ahead;
      this.#device.check();
      this.#ahead = this.#device.done().catch(() => {});
      waited += performance.now() - submitted;
    }

    for (let row = 0; row < wanted; row += logits.rows) {
      const rows = Math.min(logits.rows, wanted - row);
      const headStep = { tokens: rows, first: count - wanted + row };
      this.#headParams.write(headStep);
      record(encoder, (rows === 1 ? this.#single : this.#several).head, headStep);
      const bytes = rows * logits.stride * 4;
      encoder.copyBufferToBuffer(logits.buffer, 0, this.#staging, 0, bytes);
      queue.submit([encoder.finish()]);
      const submitted = performance.now();
      const mapped = new Float32Array(await this.#device.map(this.#staging, bytes));
      waited += performance.now() - submitted;
      for (let r = 0; r < rows; r++) {
        const from = r * logits.stride;
        result.set(mapped.subarray(from, from + this.vocabulary), (row + r) * this.vocabulary);
      }
      this.#staging.unmap();
      encoder = handle.createCommandEncoder();
    }
    this.hostMs += performance.now() - began - waited;
    return result;
  }
}

/** Sizes of the scratch: rows and width of activations, floats of plain buffers. One table for use and for planning. */
export function scratchTable(config: ModelConfig, shape: HeadShape, chunk: number) {
  const { width: D, heads: H, kvHeads: G, headWidth: E, feedForward: F, vocabulary: V } = config;
  const partial = partialSizes(shape, partialRowsOf(chunk));
  const logitsRows = Math.max(1, Math.min(chunk, Math.floor(LOGITS_BYTES / (V * 4))));
  const qkv = [chunk, (H + 2 * G) * E] as const;
  return {
    activations: {
      x: [chunk, D],
      normed: [chunk, D],
      qkv,
      ...(config.headNorms ? { qkNormed: qkv } : {}),
      attended: [chunk, H * E],
      gateUp: [chunk, 2 * F],
      hidden: [chunk, F],
      headInput: [logitsRows, D],
      logits: [logitsRows, V],
    } as Readonly<Record<string, readonly [number, number]>>,
    floats: {
      tokens: chunk,
      rotated: rotatedSize(shape, chunk),
      outputs: partial.outputs,
      states: partial.states * 2,
    },
  };
}

/** Bytes of everything that a runner allocates. */
export function runnerBytes(config: ModelConfig, shape: HeadShape, chunk: number): number {
  const { activations, floats } = scratchTable(config, shape, chunk);
  const sum = (sizes: number[]) => sizes.reduce((a, b) => a + b, 0);
  return (
    sum(Object.values(activations).map(([rows, width]) => activationBytes(rows, width))) +
    sum(Object.values(floats).map((count) => bufferBytes(count * 4))) +
    activationBytes(...activations.logits!) + // staging
    2 * PARAM_BLOCK_BYTES +
    CHOICES_BYTES
  );
}

async function createScratch(
  device: Device,
  { config, cache, chunk }: RunnerOptions,
): Promise<Scratch> {
  const table = scratchTable(config, cache.shape, chunk);
  const made = new Map<string, Activations>();
  for (const [label, [rows, width]] of Object.entries(table.activations)) {
    made.set(label, await createActivations(device, label, rows, width));
  }
  const buffers = new Map<string, GPUBuffer>();
  for (const [label, count] of Object.entries(table.floats)) {
    const usage = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;
    const allowed = device.limits.maxStorageBufferBindingSize;
    if (count * 4 > allowed) {
      throw new CapacityError(
        `${label} of ${chunk} tokens needs ${count * 4} bytes in one binding; this adapter allows ${allowed}. ` +
          "Compute fewer tokens of a prompt at a time (--chunk).",
      );
    }
    buffers.set(label, await device.createBuffer(label, count * 4, usage));
  }
  const get = (label: string) => made.get(label)!;
  return {
    tokens: buffers.get("tokens")!,
    x: get("x"),
    normed: get("normed"),
    qkv: get("qkv"),
    qkNormed: made.get("qkNormed") ?? get("qkv"),
    rotated: buffers.get("rotated")!,
    partial: { outputs: buffers.get("outputs")!, states: buffers.get("states")! },
    attended: get("attended"),
    gateUp: get("gateUp"),
    hidden: get("hidden"),
    headInput: get("headInput"),
    logits: get("logits"),
  };
}
