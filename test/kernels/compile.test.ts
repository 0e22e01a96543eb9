// The compile ring: every page, with every fragment and override that ops.ts can ask for, on Dawn's null backend; and
// what kernel.ts says where the host and a page disagree.

import { afterAll, describe, expect, test } from "vitest";
import { CELL_FORMATS, CELL_TYPES } from "../../src/kernels/attention/cells.ts";
import type { HeadShape } from "../../src/kernels/attention/head-shape.ts";
import type { Device } from "../../src/kernels/gpu/device.ts";
import {
  Kernel,
  KernelError,
  KernelLibrary,
  type KernelSpec,
} from "../../src/kernels/gpu/kernel.ts";
import { ParamBlock } from "../../src/kernels/gpu/params.ts";
import { USAGE } from "../../src/kernels/gpu/usage-flags.ts";
import { Ops } from "../../src/kernels/ops.ts";
import { ACTIVATION_FUNCTIONS } from "../../src/kernels/reference.ts";
import { F32 } from "../../src/kernels/weights/formats/f32.ts";
import type { WeightFormat } from "../../src/kernels/weights/formats/format.ts";
import { decoderOf } from "../../src/kernels/weights/formats/format.ts";
import { FORMATS } from "../../src/kernels/weights/formats/index.ts";
import { createActivations, createStack, createWeights } from "../../src/kernels/weights/tensor.ts";
import { openDevice, shaderPages, shaderSource, useGpu } from "../support/gpu.ts";

/** The lowest rung: what WebGPU guarantees everywhere, and none of the features. */
const LOWEST = {
  null: true,
  refuse: ["shader-f16", "subgroups", "timestamp-query"],
  limits: {
    maxStorageBuffersPerShaderStage: 8,
    maxComputeWorkgroupStorageSize: 16384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxStorageBufferBindingSize: 128 << 20,
  },
} as const;

const gpu = await useGpu(LOWEST);

/** Heads of models that exist, and of tests: gaps 1 and E/2, groups of 1 to 8, all cells, pages of 1 to 64. */
const HEADS: readonly (Partial<HeadShape> & { headWidth: number })[] = [
  { heads: 4, kvHeads: 4, headWidth: 8, pageSize: 1 },
  { heads: 8, kvHeads: 2, headWidth: 16, pageSize: 4 },
  { heads: 32, kvHeads: 8, headWidth: 64, pageSize: 16 },
  { heads: 9, kvHeads: 3, headWidth: 64, pageSize: 16, pairGap: 32 },
  { heads: 32, kvHeads: 32, headWidth: 80, pageSize: 32 },
  { heads: 32, kvHeads: 32, headWidth: 96, pageSize: 64, pairGap: 48 },
  { heads: 32, kvHeads: 8, headWidth: 128, pageSize: 16, pairGap: 64 },
  { heads: 8, kvHeads: 1, headWidth: 256, pageSize: 16 },
];

/** Asks for every kernel that ops.ts knows, through ops.ts, and for that of the laboratory. */
async function askForAll(device: Device, library: KernelLibrary): Promise<void> {
  const params = await ParamBlock.create(device, "params");
  const [single, several] = [new Ops(library, params, true), new Ops(library, params, false)];
  const buffer = await device.createBuffer("any", 1 << 16, USAGE.STORAGE);
  const matrix = (format: WeightFormat) => createWeights(device, format.name, format, 40, 256);
  library.kernel({ page: "adapter/multiply-rate", overrides: { LANES: 64 } });
  const x = await createActivations(device, "x", 2, 256);
  const y = await createActivations(device, "y", 2, 40);
  const bias = await createWeights(device, "bias", F32, 1, 40);
  const wide = await createWeights(device, "bias", F32, 1, 80);
  const norm = { weight: await createWeights(device, "norm", F32, 1, 256), eps: 1e-5, into: x };
  for (const format of FORMATS.values()) {
    const weights = await matrix(format);
    single.embed(buffer, weights, x);
    for (const ops of [single, several]) {
      for (const add of [false, true]) ops.project(x, weights, y, { add, bias });
      ops.project(x, weights, y, { norm });
    }
  }
  for (const headWidth of [256, 64, 32, 8]) {
    const norm = await createWeights(device, "norm", F32, 1, headWidth);
    single.rmsNorm(x, norm, x, 1e-5);
  }
  const both = await createActivations(device, "both", 2, 80);
  for (const format of FORMATS.values()) {
    const gates = await createStack(
      device,
      "gates",
      [
        { format, n: 40 },
        { format, n: 40 },
      ],
      256,
    );
    for (const ops of [single, several]) {
      for (const bias of [undefined, wide])
        ops.gate("gate", x, gates, both, y, "silu", { norm, bias });
      ops.gate("gate", x, gates, both, y, "silu");
    }
  }
  single.choose(y, buffer, await device.createBuffer("choice", 16, USAGE.STORAGE));
  single.top(y, await device.createBuffer("top", 1 << 14, USAGE.STORAGE));
  const pages = { keys: buffer, values: buffer };
  const partial = { outputs: buffer, states: buffer };
  for (const heads of HEADS) {
    for (const cells of CELL_TYPES) {
      if (heads.headWidth % CELL_FORMATS[cells].blockNumbers !== 0) continue;
      const base = { heads: 4, kvHeads: 2, pageSize: 16, pairGap: 1, scale: 0.125 };
      const shape: HeadShape = { ...base, ...heads, cells };
      const tokens = { qk: x, qkv: x, turns: buffer, slots: buffer, rotated: buffer };
      single.attention.ropeStore("rope", shape, tokens, pages);
      const buffers = { pages, pageTable: buffer, partial, x };
      single.attention.storeAndAttend("both", shape, tokens, buffers);
      single.attention.attend("attend", shape, buffer, buffers);
      single.attention.attend("attend", shape, buffer, { ...buffers, keyTurns: buffer });
      single.attention.weights("weights", shape, buffer, buffer, buffer, buffer);
      single.attention.weights("weights", shape, buffer, buffer, buffer, buffer, buffer);
    }
  }
}

/** A library that remembers what it was asked for. */
class Recording extends KernelLibrary {
  readonly specs: KernelSpec[] = [];
  override kernel(spec: KernelSpec): Kernel {
    this.specs.push(spec);
    return super.kernel(spec);
  }
}

const OTHER_RUNGS = [
  "cpu/planes/bits",
  "cpu/planes/interleaved",
  "cpu/planes/heads",
  "cpu/planes/pairs",
  "cpu/planes/quants",
  "cpu/inputs/norm-uniform",
  "cpu/inputs/uniform",
  "cpu/matmul-cpu",
  "matrix/matmul-matrices",
  "cpu/matvec-cpu",
  "cpu/reduce-eight",
  "rows/reduce-subgroup",
  ...shaderPages().filter((page) => page.startsWith("matrix/matrices/")), // test/kernels/matrices.test.ts
];

describe("every kernel that ops.ts asks for", () => {
  test("compiles on the lowest rung, and no page is left out", async () => {
    const pages = new Set<string>();
    const library = new KernelLibrary(gpu.device, (name) => {
      pages.add(name);
      return shaderSource(name);
    });
    await askForAll(gpu.device, library);
    await library.ready();
    // What only other rungs use is compiled below.
    expect([...pages, ...OTHER_RUNGS].sort()).toEqual(shaderPages());
    gpu.device.check();
  });

  test("compiles what software adapters and known subgroups get", async () => {
    await using device = await openDevice({ null: true });
    expect(device.features.has("subgroups")).toBe(true);
    const library = new KernelLibrary(device, shaderSource);
    const EPS = 1e-5;
    const activations = Object.keys(ACTIVATION_FUNCTIONS);
    for (const format of FORMATS.values()) {
      const [own, interleaved] = [decoderOf(format), decoderOf(format, "interleaved")];
      for (const memory of ["storage", "uniform"]) {
        for (const output of [
          ["matrix/outputs/plain"],
          ...activations.map((name) => ["matrix/outputs/gated", `rows/${name}`]),
        ]) {
          const room = memory === "uniform" ? "cpu/inputs" : "matrix/inputs";
          const inputs = [`${room}/${memory}`, `${room}/norm-${memory}`, "matrix/inputs/normed"];
          const rest = [...inputs, ...output];
          const fragments = [...own, ...rest, "rows/reduce-subgroup"];
          library.kernel({
            page: "matrix/matvec",
            fragments,
            overrides: { LANES: 8, ROWS: 32, EPS },
          });
          const eight = [...interleaved, ...rest, "cpu/reduce-eight"];
          library.kernel({ page: "cpu/matvec-cpu", fragments: eight, overrides: { EPS } });
        }
      }
      const fragments = [...interleaved, "cpu/reduce-eight"];
      library.kernel({ page: "cpu/matmul-cpu", fragments });
    }
    library.kernel({
      page: "rows/rms-norm",
      fragments: ["rows/reduce-subgroup"],
      overrides: { D: 64, STRIDE: 64, EPS: 1e-5, LANES: 32 },
    });
    await library.ready();
    device.check();
  });

  test("compiles with the lanes of every adapter", async () => {
    const library = new Recording(gpu.device, shaderSource);
    await askForAll(gpu.device, library);
    await library.ready();
    const other = new KernelLibrary(gpu.device, shaderSource);
    for (const { overrides, ...spec } of library.specs) {
      if (overrides?.LANES === undefined) continue;
      for (const lanes of [8, 16, 32, 64]) {
        const least = spec.page === "attention" ? overrides.E! / 32 : 8;
        if (lanes >= least) other.kernel({ ...spec, overrides: { ...overrides, LANES: lanes } });
      }
    }
    await other.ready();
    gpu.device.check();
  });

  test("matrices of a format share their kernels, whatever their sizes", async () => {
    const library = new Recording(gpu.device, shaderSource);
    const ops = new Ops(library, gpu.params, false);
    const made = [];
    for (const [n, k] of [
      [40, 256],
      [3, 64],
      [1000, 32],
    ] as const) {
      const weights = await createWeights(gpu.device, "w", F32, n, k);
      const x = await createActivations(gpu.device, "x", 2, k);
      const y = await createActivations(gpu.device, "y", 2, n);
      made.push(ops.project(x, weights, y)[0]!.kernel);
    }
    expect(new Set(made).size).toBe(1);
  });
});

describe("the budget of a page (design 2)", () => {
  test.each(shaderPages())("%s", (page) => {
    const lines = shaderSource(page).trimEnd().split("\n").length;
    expect(lines).toBeLessThanOrEqual(200);
  });
});

describe("what a mismatch throws", () => {
  const PAGE = `// a page
override WIDTH: u32;
override LANES: u32 = 8;

struct Params {
  tokens: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  y[id.x] = x[id.x] * params.scale * f32(params.tokens + WIDTH);
}
`;
  const kernelOf = (text: string, spec: Partial<KernelSpec> = {}) =>
    new Kernel(gpu.device, { page: "scale", overrides: { WIDTH: 4 }, ...spec }, () => text);
  const storage = () => gpu.device.createBuffer("any", 64, USAGE.STORAGE);
  const uniforms = () => gpu.device.createBuffer("any", 64, USAGE.UNIFORM);

  test("nothing where both agree: bindings and params are read off the page", async () => {
    const kernel = kernelOf(PAGE);
    await kernel.ready;
    expect(kernel.name).toBe("scale");
    expect(Object.fromEntries(kernel.bindings)).toEqual({
      x: { index: 0, type: "read-only-storage" },
      y: { index: 3, type: "storage" },
      params: { index: 1, type: "uniform" },
    });
    expect(kernel.params).toEqual([
      { name: "tokens", type: "u32" },
      { name: "scale", type: "f32" },
    ]);
    const [x, y, params] = [await storage(), await storage(), await uniforms()];
    kernel.bind(gpu.device, { x: { buffer: x }, y: { buffer: y }, params: { buffer: params } });
    gpu.device.check();
  });

  test("an override that the page does not declare", () => {
    expect(() => kernelOf(PAGE, { overrides: { WIDTH: 4, HEIGHT: 5 } })).toThrow(
      new KernelError("scale: no override named HEIGHT"),
    );
  });

  test("an override that the page needs and does not get", async () => {
    const device = await openDevice({ null: true });
    const kernel = new Kernel(device, { page: "scale" }, () => PAGE);
    await expect(kernel.ready).rejects.toThrow(/^scale: [\s\S]*WIDTH/);
    await device.close();
  });

  test("a binding that is missing, and one that is unknown", async () => {
    const kernel = kernelOf(PAGE);
    await kernel.ready;
    const x = { buffer: await storage() };
    const params = { buffer: await uniforms() };
    expect(() => kernel.bind(gpu.device, { x, params })).toThrow(
      new KernelError("scale: missing binding y"),
    );
    expect(() => kernel.bind(gpu.device, { x, y: x, params, z: x })).toThrow(
      new KernelError("scale: no binding named z"),
    );
  });

  test("two variables with one index, also across pages", () => {
    const twice = PAGE.replace("@binding(3)", "@binding(0)");
    expect(() => kernelOf(twice)).toThrow(new KernelError("scale: x and y share binding 0"));
    const pages: Record<string, string> = {
      scale: PAGE,
      "formats/other": "@group(0) @binding(3) var<storage, read> w: array<u32>;\n",
    };
    expect(
      () =>
        new Kernel(
          gpu.device,
          { page: "scale", fragments: ["formats/other"] },
          (name) => pages[name]!,
        ),
    ).toThrow(new KernelError("scale.other: y and w share binding 3"));
  });

  test("a binding that the house rules cannot read", () => {
    const group1 = PAGE.replace("@group(0) @binding(3)", "@group(1) @binding(3)");
    expect(() => kernelOf(group1)).toThrow(
      new KernelError("scale: 3 bindings declared, 2 understood"),
    );
  });

  test("a page that does not compile: kernel, line and text", async () => {
    const device = await openDevice({ null: true });
    const broken = PAGE.replace("params.scale", "params.scales");
    const kernel = new Kernel(device, { page: "scale" }, () => broken);
    const line = broken.split("\n").findIndex((text) => text.includes("scales")) + 1;
    await expect(kernel.ready).rejects.toThrow(KernelError);
    const message = await kernel.ready.catch((error: Error) => error.message);
    expect(message).toMatch(/^scale: /);
    expect(message).toMatch(new RegExp(`^${line}:\\d+ .*scales`, "m"));
    expect(message).toContain(`    ${broken.split("\n")[line - 1]}`);
    expect(() => kernel.pipeline).toThrow(new KernelError("scale: used before it was compiled"));
    await device.close();
  });

  test("enable directives of fragments move to the front and keep every line where it was", async () => {
    const device = await openDevice({ null: true });
    const pages: Record<string, string> = {
      scale: PAGE.replace("params.scale", "params.scale * f32(half())"),
      halves: "// halves\nenable f16;\nfn half() -> f16 { return f16(0.5); }\n",
      broken: "// halves\nenable f16;\nfn half() -> f16 { return f16(0.5) }\n",
    };
    const overrides = { WIDTH: 4 };
    const source = (name: string) => pages[name]!;
    const kernel = new Kernel(device, { page: "scale", fragments: ["halves"], overrides }, source);
    await kernel.ready;
    const bad = new Kernel(device, { page: "scale", fragments: ["broken"], overrides }, source);
    const message = await bad.ready.catch((error: Error) => error.message);
    // The third line of the fragment, after the lines of the page and the newline that joins them.
    const line = pages.scale!.split("\n").length + 3;
    expect(message).toMatch(new RegExp(`^${line}:\\d+ [^\\n]*\\n    fn half\\(\\)`, "m"));
    await device.close();
  });

  test("a step value that a kernel needs", async () => {
    const kernel = kernelOf(PAGE);
    const params = await ParamBlock.create(gpu.device, "params");
    params.slot(kernel);
    expect(() => params.write({ tokens: 1 })).toThrow(
      new KernelError("scale: missing param scale"),
    );
    params.write({ tokens: 1, scale: 0.5, other: 3 });
  });

  test("a library reports what failed when it is asked whether it is ready", async () => {
    const device = await openDevice({ null: true });
    const library = new KernelLibrary(device, () => PAGE.replace("y[id.x] =", "y[id.x] +"));
    library.kernel({ page: "scale", overrides: { WIDTH: 4 } });
    await expect(library.ready()).rejects.toThrow(/^scale: /);
    await device.close();
  });
});

describe("params", () => {
  const declare = (fields: string) =>
    new Kernel(
      gpu.device,
      { page: "p" },
      () => `struct Params {\n${fields}\n}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(1) fn main() { _ = params; y[0] = 1u; }
`,
    );

  test("kernels with the same fields share a slot, others do not", async () => {
    const params = await ParamBlock.create(gpu.device, "params");
    const [a, b, c, d] = ["  a: u32,", "  a: u32,", "  a: f32,", "  a: u32,\n  b: i32,"].map(
      (fields) => params.slot(declare(fields)),
    );
    expect(b).toEqual(a);
    expect(new Set([a, c, d].map((slot) => slot!.offset)).size).toBe(3);
    for (const { offset, size } of [a!, c!, d!]) {
      expect(offset! % 256).toBe(0);
      expect(size! % 16).toBe(0);
    }
  });

  test("a page whose fields do not fit the rule would be packed wrongly: all pages do fit", () => {
    for (const page of shaderPages()) {
      const body = /struct Params \{([^}]*)\}/.exec(shaderSource(page))?.[1];
      if (body === undefined) continue;
      const fields = body.split("\n").filter((line) => line.trim() !== "");
      for (const field of fields) expect(field).toMatch(/^ {2}\w+: (u32|i32|f32),/);
    }
  });
});

test("variables in loops say what they begin with", () => {
  // WGSL would begin with zeros each time that the declaration is met; this Dawn does once (webgpu 0.6.2).
  for (const page of shaderPages()) {
    expect(shaderSource(page), page).not.toMatch(/^ {4,}var \w+: [^=]*;/m);
  }
});

afterAll(() => {
  gpu.device.check();
});
