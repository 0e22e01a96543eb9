// What does each idea in matvec.wgsl and matvec-cpu.wgsl bring? The same product, y = W x with W [N, K] in Q4_K, by
// versions that lead from the formula to the engine's kernel on a software adapter: docs/matvec.md tells the story. A
// version that computes something else gets no time.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { UserError } from "../src/errors.ts";
import type { Placement } from "../src/kernels/adapter/adapter.ts";
import { matvecTiling, reduction } from "../src/kernels/adapter/tiling.ts";
import { type Activations, UNIFORM_BYTES } from "../src/kernels/gpu/activations.ts";
import type { Dispatch } from "../src/kernels/gpu/commands.ts";
import { Device } from "../src/kernels/gpu/device.ts";
import { activationBinding, type Recipe } from "../src/kernels/gpu/dispatcher.ts";
import { project } from "../src/kernels/matrix/products.ts";
import { measureWorkgroups } from "../src/kernels/matrix/tuning.ts";
import * as reference from "../src/kernels/reference.ts";
import { decoderOf, rowBytes } from "../src/kernels/weights/formats/format.ts";
import { FORMATS } from "../src/kernels/weights/formats/index.ts";
import type { Weights } from "../src/kernels/weights/tensor.ts";
import { decode, randomFloats, randomTensor } from "../src/laboratory/kernels/random.ts";
import { timeDispatches } from "../src/laboratory/kernels/time-kernel.ts";
import { Workbench } from "../src/laboratory/kernels/workbench.ts";
import { median, nmse } from "../src/numbers.ts";
import { nodePlatform } from "../src/platform/node.ts";
import { machine, percent, printTable, save, spread, wholeNumber } from "./report.ts";

const FORMAT = FORMATS.get("Q4_K")!;
const CHUNK_READER = decoderOf(FORMAT);
/** Of the squared difference to the square sum of what it should be. */
const TOLERANCE = 1e-9;
/** More than the caches of most machines hold. */
const BYTES = 64 << 20;

const ROUNDS = 9;

interface Version {
  readonly name: string;
  /** Whether it is for adapters that are CPUs and have subgroups of eight. */
  readonly eight?: boolean;
  /** How its weights lie in memory, by default row after row in a buffer. */
  readonly placement?: Placement;
  /** The dispatches that multiply, given where x and y lie. */
  dispatches(bench: Workbench, w: Weights, x: Activations, y: Activations): Dispatch[];
}

/** A dispatch with those bindings that its shader has: a probe reads less. */
function dispatchOf(bench: Workbench, recipe: Recipe): Dispatch {
  const { bindings: has } = bench.library.kernel(recipe);
  const used = Object.entries(recipe.bindings).filter(([name]) => has.has(name));
  return bench.one.dispatcher.dispatch({ ...recipe, bindings: Object.fromEntries(used) });
}

/** A shader of bench/lesson, one workgroup for every `rows` rows; by default as many as it has lanes. */
function version(
  shader: string,
  fragments: readonly string[],
  rows?: number,
  name = shader.replaceAll("-", " "),
): Version {
  return {
    name,
    dispatches(bench, w, x, y) {
      const LANES = bench.adapter.lanes;
      const ROWS = rows !== undefined && rows > 1 ? { ROWS: rows } : {};
      const sum = rows === undefined ? [] : [reduction(bench.adapter, LANES)];
      const groups = Math.ceil(w.n / (rows ?? LANES));
      const dispatch = dispatchOf(bench, {
        label: name,
        shader,
        fragments: [...fragments, ...sum],
        overrides: { LANES, ...ROWS },
        bindings: { x: activationBinding(x), y: activationBinding(y), ...w.parts[0]!.bindings },
        grid: () => [groups, 1, 1],
      });
      return [dispatch];
    },
  };
}

/** A shader with parts of the engine, one workgroup for every ROWS rows, with x where a software adapter reads it or where all do. */
function engines(
  shader: string,
  memory: "storage" | "uniform",
  decoder: readonly string[],
  overrides: Readonly<Record<string, number>> & { readonly ROWS: number },
  name = shader.replaceAll("-", " "),
): Version {
  const eight = shader !== "matrix/matvec";
  return {
    name,
    eight,
    placement: decoder.includes("cpu/planes/interleaved") ? "interleaved" : "rows",
    dispatches(bench, w, x, y) {
      const LANES = bench.adapter.lanes;
      const rest = [
        `${memory === "uniform" ? "cpu" : "matrix"}/inputs/${memory}`,
        "matrix/inputs/plain",
        "matrix/outputs/plain",
      ];
      const input =
        memory === "uniform" ? { buffer: x.buffer, size: UNIFORM_BYTES } : activationBinding(x);
      const groups = Math.ceil(w.n / overrides.ROWS);
      const dispatch = dispatchOf(bench, {
        label: name,
        shader,
        fragments: [...decoder, ...rest, reduction(bench.adapter, LANES)],
        overrides: eight ? overrides : { LANES, ...overrides },
        bindings: { x: input, y: activationBinding(y), ...w.parts[0]!.bindings },
        grid: () => [groups, 1, 1],
      });
      return [dispatch];
    },
  };
}

const ROWS = 64;
const INTERLEAVED_READER = decoderOf(FORMAT, "interleaved");

/** Of which the last but one takes as many rows a workgroup as the last one, the engine's. */
const versionsOf = (overrides: { readonly ROWS: number }): readonly Version[] => [
  version("1-a-weight-at-a-time", []),
  version("2-a-chunk-at-a-time", CHUNK_READER),
  version("3-lanes-along-the-row", CHUNK_READER, 1),
  version("4-several-rows", CHUNK_READER, 8),
  version("4-several-rows", CHUNK_READER, ROWS, "5 many rows"),
  engines("matrix/matvec", "storage", CHUNK_READER, { ROWS }, "6 scales applied to sums"),
  engines("matrix/matvec", "uniform", CHUNK_READER, { ROWS }, "7 x in constant memory"),
  engines("8-rows-from-end-to-end", "uniform", CHUNK_READER, { ROWS }),
  engines("9-a-lane-a-row", "uniform", INTERLEAVED_READER, overrides),
  {
    name: "10 a chunk ahead",
    eight: true,
    placement: "interleaved",
    dispatches: (bench, w, x, y) => project(bench.one, { x, weights: w, y }),
  },
];

/** What version 10 takes without a part of its work, in workgroups of the same size: no products, so nothing is checked. */
const PROBES = {
  "loads alone": ["loads-alone", ...INTERLEAVED_READER.slice(1)],
  "arithmetic alone": ["arithmetic-alone", "cpu/planes/interleaved", "weights/planes/unpack"],
  neither: ["neither", "cpu/planes/interleaved", "weights/planes/unpack"],
} as const;

/** Shaders of the engine, and of the lesson beside them. */
function shaders(name: string): string {
  if (!/^\d-|-alone$|^neither$/.test(name)) return nodePlatform.shaders(name);
  return readFileSync(new URL(`lesson/${name}.wgsl`, import.meta.url), "utf8");
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      shape: { type: "string", default: "4096,768" },
      time: { type: "string", default: "1000" },
      json: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
    },
  });
  const time = wholeNumber("--time", values.time, 1, 3_600_000);
  const [n = 0, k = 0] = values.shape.split(",").map(Number);
  if (!(n > 0 && k > 0 && k % FORMAT.blockWeights === 0 && n <= 65535 && 4 * k <= UNIFORM_BYTES)) {
    throw new UserError(
      `Invalid --shape ${values.shape}: expected N,K with K a multiple of 256, at most ${UNIFORM_BYTES / 4}.`,
    );
  }
  const gpu = nodePlatform.openGpu();
  const adapter = await nodePlatform.requestAdapter(gpu);
  const device = await Device.open(gpu, adapter, {}, nodePlatform.waitFor(adapter));
  const workgroups = await measureWorkgroups(device, shaders); // as the engine does
  const bench = await Workbench.create(device, shaders, { workgroups });

  const bytes = n * rowBytes(FORMAT, k);
  const file = randomTensor(FORMAT, n, k, 1);
  const input = randomFloats(2, k);
  const x = await bench.activations(1, k, input);
  const y = await bench.activations(1, n);
  const copies = { rows: [] as Weights[], interleaved: [] as Weights[] };
  for (const placement of ["rows", "interleaved"] as const) {
    copies[placement].push(await bench.weights(FORMAT, n, k, file, placement));
    while (copies[placement].length * bytes < BYTES) {
      copies[placement].push(await bench.copyOf(copies[placement][0]!));
    }
  }
  const expected = reference.project(input, decode(FORMAT, file), 1, n, k);

  const { shader, overrides } = matvecTiling(bench.adapter, {
    placement: bench.adapter.placement,
    n,
    tokens: "one",
    least: 8,
  });
  const eight = shader === "cpu/matvec-cpu";
  const checked = versionsOf(overrides).filter((version) => eight || !version.eight);
  const probes = Object.entries(eight ? PROBES : {}).map(([name, decoder]) =>
    engines("cpu/matvec-cpu", "uniform", decoder, overrides, name),
  );
  const prepared = [...checked, ...probes].map(({ name, placement = "rows", dispatches }) => {
    const variants = copies[placement].map((w) => dispatches(bench, w, x, y));
    return { name, variants, times: [] as number[] };
  });
  for (const { name, variants } of prepared.slice(0, checked.length)) {
    await bench.run(variants[0]!);
    check(name, await bench.readActivations(y), expected);
  }
  // In turns: whatever else the machine does, it does to all of them.
  for (let round = 1; round <= ROUNDS; round++) {
    console.error(`round ${round} of ${ROUNDS}`);
    for (const { variants, times } of prepared) {
      const step = await bench.prepare();
      const ms = time / ROUNDS;
      times.push((await timeDispatches(device, variants, step, ms)).us);
    }
  }
  const versions = prepared.map(({ name, times }) => {
    const us = median(times);
    return { name, us, spread: spread(times), gigabytesPerSecond: bytes / us / 1000 };
  });
  device.check();
  await device.close();

  const description = nodePlatform.describeAdapter(adapter);
  const shape = [n, k];
  const result = { question: "lesson", shape, machine: machine(), adapter: description, versions };
  if (values.save) await save("lesson", result);
  if (values.json) return void console.log(JSON.stringify(result, null, 2));
  console.log(`Q4_K matvec [${n}, ${k}], checked, on ${machine()}\n  ${description}`);
  printTable(
    ["version", "µs", "spread", "GB/s", "faster than the one before by"],
    versions.map(({ name, us, spread, gigabytesPerSecond }, i) => [
      name,
      us.toFixed(0),
      percent(spread),
      gigabytesPerSecond.toFixed(2),
      i === 0 || i >= checked.length ? "" : `${(versions[i - 1]!.us / us).toFixed(2)} ×`,
    ]),
  );
}

function check(name: string, found: Float32Array, expected: Float64Array): void {
  const error = nmse(found, expected);
  if (error <= TOLERANCE) return;
  throw new Error(`${name} is wrong: NMSE ${error}`);
}
