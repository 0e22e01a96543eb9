// What does a driver's compiler make of each kernel of a large model? Registers, spills, instructions
// and waves, as the driver tells a layer of Vulkan; nothing is executed, so the card may be one that
// only the driver believes in.
//
// The layer (bench/gpu/statistics.c, or one like it) writes a line for each pipeline into the file
// that PIPELINE_STATISTICS or PIPESTATS_OUT names.

import { existsSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { UserError } from "../src/errors.ts";
import { offeredMatrixShape, readAdapter } from "../src/kernels/adapter/adapter.ts";
import { type Target, targetOf } from "../src/kernels/adapter/target.ts";
import { storeAndAttend } from "../src/kernels/attention/attention.ts";
import { KV_TYPES, type KvType } from "../src/kernels/attention/kv-types.ts";
import { chooseToken, listTop } from "../src/kernels/choice/choice.ts";
import { createActivations } from "../src/kernels/gpu/activations.ts";
import { Device } from "../src/kernels/gpu/device.ts";
import { Kernel, KernelLibrary, type KernelSpec } from "../src/kernels/gpu/kernel.ts";
import { ParamBlock } from "../src/kernels/gpu/params.ts";
import { USAGE } from "../src/kernels/gpu/usage-flags.ts";
import { gate, project } from "../src/kernels/matrix/products.ts";
import { embed } from "../src/kernels/rows/rows.ts";
import { F32 } from "../src/kernels/weights/formats/f32.ts";
import type { WeightFormat } from "../src/kernels/weights/formats/format.ts";
import { Q4_K } from "../src/kernels/weights/formats/q4-k.ts";
import { Q6_K } from "../src/kernels/weights/formats/q6-k.ts";
import { createStack, createWeights } from "../src/kernels/weights/tensor.ts";
import { openGpu, requestAdapter } from "../src/platform/dawn.ts";
import { shaders } from "../src/platform/node.ts";
import { writeWholeFile } from "../src/platform/write-file.ts";
import { SHAPES, shapeNamed } from "./random-model.ts";
import { wholeNumber } from "./report.ts";

/** What is asked for: the shape of a model, and how a card would share its work. */
interface Request {
  readonly shape: keyof typeof SHAPES;
  readonly workgroups: number;
  readonly kv: KvType;
}

/** An operation of a step, and a kernel that it asks for. */
interface AskedKernel {
  readonly label: string;
  readonly spec: KernelSpec;
}

/** A line of the layer. */
interface Statistics {
  readonly subgroup: number;
  readonly statistics: Readonly<Record<string, number>>;
}

interface Row extends Statistics {
  readonly label: string;
  readonly name: string;
  readonly overrides: KernelSpec["overrides"];
  /** How long it took to compile. */
  readonly ms: number;
  /** False if the driver had the kernel, and told nothing new. */
  readonly fresh: boolean;
}

/** Tokens of a prompt that are computed at a time. */
const CHUNK = 256;

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      shape: { type: "string", default: "8b" },
      workgroups: { type: "string", default: "512" },
      kv: { type: "string", default: "f16" },
      json: { type: "boolean", default: false },
      save: { type: "string" },
    },
  });
  const kv = KV_TYPES.find((type) => type === values.kv);
  if (!kv) {
    throw new UserError(`Invalid --kv "${values.kv}": expected ${KV_TYPES.join(", ")}.`);
  }
  const workgroups = wholeNumber("--workgroups", values.workgroups, 1, 65535);
  const request = { shape: shapeNamed(values.shape), workgroups, kv };
  const file = process.env.PIPELINE_STATISTICS ?? process.env.PIPESTATS_OUT;
  if (file === undefined) {
    throw new UserError("Set PIPELINE_STATISTICS to the file that a layer of Vulkan writes.");
  }
  const gpu = openGpu();
  const open = async () => Device.open(gpu, await requestAdapter(gpu));
  const asked = await askedKernels(open, request);
  await using device = await open();
  const rows = await statisticsOf(device, asked, file);
  const { vendor, architecture, device: model } = device.info;
  const { shape } = request;
  const report = { adapter: `${vendor}/${architecture} ${model}`, shape, workgroups, rows };
  if (values.save) await writeWholeFile(values.save, `${JSON.stringify(report, null, 1)}\n`);
  console.log(values.json ? JSON.stringify(report) : rows.map(textOf).join("\n"));
}

/** Every kernel that steps of a model ask for, on a device of its own. */
async function askedKernels(open: () => Promise<Device>, request: Request): Promise<AskedKernel[]> {
  await using device = await open();
  const asked: AskedKernel[] = [];
  let label = "";
  class Recording extends KernelLibrary {
    override kernel(spec: KernelSpec): Kernel {
      asked.push({ label, spec });
      return super.kernel(spec);
    }
  }
  const library = new Recording(device, shaders);
  const matrices = offeredMatrixShape(device) !== undefined;
  const adapter = readAdapter(device, { workgroups: request.workgroups, matrices });
  const params = await ParamBlock.create(device, "params");
  const { subgroupMinSize, subgroupMaxSize, device: model } = device.info;
  console.error(
    `${model}: subgroups of ${subgroupMinSize} to ${subgroupMaxSize}, ${adapter.lanes} lanes, ` +
      `subgroup matrices ${adapter.matrixShape ?? "none"}`,
  );
  const operations = await operationsOf(device, request);
  for (const tokens of ["one", "several"] as const) {
    const target = targetOf({ adapter, library, params }, tokens);
    for (const [name, prepare] of operations[tokens]) {
      label = `${tokens === "one" ? "decode" : "prefill"} ${name}`;
      prepare(target);
    }
  }
  await library.ready();
  device.check();
  return asked;
}

type Operations = readonly (readonly [name: string, prepare: (target: Target) => unknown])[];

/** The operations of a layer and of the head, in the order of a step. */
async function operationsOf(
  device: Device,
  { shape, kv }: Request,
): Promise<Readonly<Record<Target["tokens"], Operations>>> {
  const { width: D, heads: H, kvHeads: G, feedForward: F, vocabulary: V } = SHAPES[shape];
  const E = D / H;
  const rows = (label: string, width: number) => createActivations(device, label, CHUNK, width);
  const [x, into, attended] = [await rows("x", D), await rows("n", D), await rows("a", H * E)];
  const [hidden, gateUp] = [await rows("hidden", F), await rows("gate up", 2 * F)];
  const qkv = await rows("qkv", (H + 2 * G) * E);
  const logits = await createActivations(device, "logits", 1, V);
  const norm = {
    weight: await createWeights(device, { label: "norm", format: F32, n: 1, k: D }),
    eps: 1e-5,
    into,
  };
  const stack = (k: number, ...parts: (readonly [WeightFormat, number])[]) => {
    const tensors = parts.map(([format, n]) => ({ format, n }));
    return createStack(device, { label: "weights", tensors, k });
  };
  const weights = {
    qkv: await stack(D, [Q4_K, H * E], [Q4_K, G * E], [Q4_K, G * E]),
    mixedQkv: await stack(D, [Q4_K, H * E], [Q4_K, G * E], [Q6_K, G * E]),
    attnOutput: await stack(H * E, [Q4_K, D]),
    gateUp: await stack(D, [Q4_K, F], [Q4_K, F]),
    down: await stack(F, [Q4_K, D]),
    largeDown: await stack(F, [Q6_K, D]),
    output: await stack(D, [Q6_K, V]),
    tokenEmbd: await stack(D, [Q4_K, V]),
  };
  const buffer = await device.createBuffer("any", 1 << 22, USAGE.STORAGE);
  const heads = { heads: H, kvHeads: G, headWidth: E, pageSize: 16, kvType: kv };
  const attention = {
    label: "attention",
    shape: { ...heads, pairGap: 1, scale: 1 / Math.sqrt(E) },
    tokens: { qk: qkv, qkv, rotations: buffer, slots: buffer, rotated: buffer },
    buffers: {
      pages: { keys: buffer, values: buffer },
      pageTable: buffer,
      work: { short: buffer, long: buffer, merges: buffer },
      partial: buffer,
      x: attended,
    },
  };
  const added = { y: x, add: true };
  const gated = { label: "gate", activation: "silu", gateUp, hidden } as const;
  const layer: Operations = [
    ["embed", (on) => embed(on, { tokens: buffer, table: weights.tokenEmbd, x })],
    ["qkv (normed, Q4_K)", (on) => project(on, { x, weights: weights.qkv, y: qkv, norm })],
    [
      "qkv (normed, Q4_K and Q6_K)",
      (on) => project(on, { x, weights: weights.mixedQkv, y: qkv, norm }),
    ],
    ["attention", (on) => storeAndAttend(on, attention)],
    [
      "attn_output (add, Q4_K)",
      (on) => project(on, { x: attended, weights: weights.attnOutput, ...added }),
    ],
    [
      "gate_up (normed, gated, Q4_K)",
      (on) => gate(on, { ...gated, x, weights: weights.gateUp, norm }),
    ],
    ["ffn_down (add, Q4_K)", (on) => project(on, { x: hidden, weights: weights.down, ...added })],
    [
      "ffn_down (add, Q6_K)",
      (on) => project(on, { x: hidden, weights: weights.largeDown, ...added }),
    ],
  ];
  const head: Operations = [
    ["output (normed, Q6_K)", (on) => project(on, { x, weights: weights.output, y: logits, norm })],
    ["choose", (on) => chooseToken(on, { logits, tokens: buffer, choice: buffer })],
    ["top", (on) => listTop(on, { logits, top: buffer })],
  ];
  return { one: [...layer, ...head], several: layer };
}

/** Compiles one kernel after the other, so that what the layer writes is of the kernel in hand. */
async function statisticsOf(
  device: Device,
  asked: readonly AskedKernel[],
  file: string,
): Promise<Row[]> {
  const lines = () => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : []);
  const seen = new Map<string, Omit<Row, "label">>();
  const rows: Row[] = [];
  for (const { label, spec } of asked) {
    const key = JSON.stringify(spec);
    let row = seen.get(key);
    if (!row) {
      const before = lines().length;
      const began = performance.now();
      const kernel = new Kernel(device, spec, shaders);
      await kernel.ready;
      const ms = performance.now() - began;
      const after = lines();
      const last = after.at(-1);
      const told: Statistics = last ? JSON.parse(last) : { subgroup: 0, statistics: {} };
      const { subgroup, statistics } = told;
      const { name } = kernel;
      const fresh = after.length > before;
      row = { name, overrides: spec.overrides, ms, subgroup, statistics, fresh };
      seen.set(key, row);
    }
    rows.push({ label, ...row });
  }
  device.check();
  return rows;
}

function textOf({ label, name, overrides, subgroup, fresh, ms, statistics }: Row): string {
  const told = Object.entries(statistics).filter(([key]) => !/hash|combined|driver/i.test(key));
  const source = fresh ? "" : " (cached)";
  return (
    `${label}: ${name} ${JSON.stringify(overrides)} wave${subgroup}${source} compile ${ms.toFixed(0)} ms\n` +
    `    ${told.map(([key, value]) => `${key} ${value}`).join(", ")}`
  );
}
