// The compile ring: every shader, with every fragment and override that a recipe can ask for, on Dawn's null backend; and
// what kernel.ts says where the host and a shader disagree.

import { afterAll, describe, expect, test } from "vitest";
import { readAdapter } from "../../src/kernels/adapter/adapter.ts";
import { targetOf } from "../../src/kernels/adapter/target.ts";
import {
  attend,
  attentionWeights,
  ropeStore,
  storeAndAttend,
} from "../../src/kernels/attention/attention.ts";
import type { HeadShape } from "../../src/kernels/attention/head-shape.ts";
import { KV_FORMATS, KV_TYPES } from "../../src/kernels/attention/kv-types.ts";
import { chooseTokens, listTop } from "../../src/kernels/choice/choice.ts";
import { createActivations } from "../../src/kernels/gpu/activations.ts";
import type { Device } from "../../src/kernels/gpu/device.ts";
import {
  Kernel,
  KernelError,
  KernelLibrary,
  type KernelSpec,
} from "../../src/kernels/gpu/kernel.ts";
import { ParamBlock } from "../../src/kernels/gpu/params.ts";
import { USAGE } from "../../src/kernels/gpu/usage-flags.ts";
import { gate, project } from "../../src/kernels/matrix/products.ts";
import { ACTIVATION_FUNCTIONS, type ActivationFunction } from "../../src/kernels/reference.ts";
import {
  activate,
  addRows,
  embed,
  normalize,
  scale,
  softcap,
} from "../../src/kernels/rows/rows.ts";
import { F32 } from "../../src/kernels/weights/formats/f32.ts";
import type { WeightFormat } from "../../src/kernels/weights/formats/format.ts";
import { decoderOf } from "../../src/kernels/weights/formats/format.ts";
import { FORMATS } from "../../src/kernels/weights/formats/index.ts";
import { createStack, createWeights } from "../../src/kernels/weights/tensor.ts";
import { openDevice, shaderNames, shaderSource, useGpu } from "../support/gpu.ts";

/** The least that an adapter can do: what WebGPU guarantees everywhere, and none of the features. */
const LEAST = {
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

const gpu = await useGpu(LEAST);

const ACTIVATIONS = Object.keys(ACTIVATION_FUNCTIONS) as ActivationFunction[];

/** Heads of models that exist, and of tests: gaps 1 and E/2, groups of 1 to 8, all kv types, pages of 1 to 64. */
const HEADS: readonly (Partial<HeadShape> & { headWidth: number })[] = [
  { heads: 4, kvHeads: 4, headWidth: 8, pageSize: 1 },
  { heads: 8, kvHeads: 2, headWidth: 16, pageSize: 4 },
  { heads: 32, kvHeads: 8, headWidth: 64, pageSize: 16 },
  { heads: 9, kvHeads: 3, headWidth: 64, pageSize: 16, pairGap: 32, scoreCap: 50, ahead: 4 },
  { heads: 32, kvHeads: 32, headWidth: 80, pageSize: 32, pairGap: 10 },
  { heads: 32, kvHeads: 32, headWidth: 96, pageSize: 64, pairGap: 48 },
  { heads: 32, kvHeads: 8, headWidth: 128, pageSize: 16, pairGap: 64 },
  { heads: 8, kvHeads: 1, headWidth: 256, pageSize: 16 },
];

/** Asks for every kernel that a recipe asks for, and for that of the laboratory. */
async function askForAll(device: Device, library: KernelLibrary): Promise<void> {
  const params = await ParamBlock.create(device, "params");
  const parts = { adapter: readAdapter(device), library, params };
  const [one, several] = [targetOf(parts, "one"), targetOf(parts, "several")];
  const buffer = await device.createBuffer("any", 1 << 16, USAGE.STORAGE);
  const matrix = (format: WeightFormat) =>
    createWeights(device, { label: format.name, format, n: 40, k: 256 });
  library.kernel({ shader: "adapter/multiply-rate", overrides: { LANES: 64 } });
  const x = await createActivations(device, "x", 2, 256);
  const y = await createActivations(device, "y", 2, 40);
  const bias = await createWeights(device, { label: "bias", format: F32, n: 1, k: 40 });
  const wide = await createWeights(device, { label: "bias", format: F32, n: 1, k: 80 });
  const norm = {
    weight: await createWeights(device, { label: "norm", format: F32, n: 1, k: 256 }),
    eps: 1e-5,
    into: x,
  };
  for (const format of FORMATS.values()) {
    const weights = await matrix(format);
    embed(one, { tokens: buffer, choices: buffer, table: weights, x });
    for (const target of [one, several]) {
      for (const add of [false, true]) project(target, { x, weights, y, add, bias });
      project(target, { x, weights, y, norm });
    }
  }
  for (const headWidth of [256, 64, 32, 8]) {
    const norm = await createWeights(device, { label: "norm", format: F32, n: 1, k: headWidth });
    normalize(one, { x, weight: norm, y: x, eps: 1e-5 });
    normalize(one, { x, weight: norm, y: x, eps: 1e-5, add: true });
    normalize(one, { x, weight: undefined, y: x, eps: 1e-5, parts: 1, width: headWidth });
    const own = await createWeights(device, { label: "own", format: F32, n: 1, k: 2 * headWidth });
    for (const kind of ["rms", "layer"] as const) {
      normalize(one, { x, weight: own, y: x, eps: 1e-5, kind, width: headWidth / 2, parts: 2 });
    }
  }
  softcap(one, { label: "cap", y: x, cap: 30 });
  scale(one, { label: "scale", y: x, factor: 2 });
  addRows(one, { label: "sum", x, y, factor: 2 });
  for (const activation of ACTIVATIONS) activate(one, { label: "hidden", y: x, activation });
  const both = await createActivations(device, "both", 2, 80);
  for (const format of FORMATS.values()) {
    const gates = await createStack(device, {
      label: "gates",
      tensors: [
        { format, n: 40 },
        { format, n: 40 },
      ],
      k: 256,
    });
    for (const target of [one, several]) {
      for (const bias of [undefined, wide])
        gate(target, {
          label: "gate",
          x,
          weights: gates,
          gateUp: both,
          hidden: y,
          activation: "silu",
          norm,
          bias,
        });
      for (const activation of ACTIVATIONS)
        gate(target, { label: "gate", x, weights: gates, gateUp: both, hidden: y, activation });
    }
  }
  const written = await device.createBuffer("written", 1 << 14, USAGE.STORAGE);
  chooseTokens(one, { logits: y, draws: buffer, choices: written });
  listTop(one, { logits: y, wanted: buffer, top: written });
  const pages = { keys: buffer, values: buffer };
  const work = { short: buffer, long: buffer, merges: buffer };
  for (const heads of HEADS) {
    for (const kvType of KV_TYPES) {
      if (heads.headWidth % KV_FORMATS[kvType].blockNumbers !== 0) continue;
      const base = { heads: 4, kvHeads: 2, pageSize: 16, pairGap: 1, scale: 0.125 };
      const shape: HeadShape = { ...base, ...heads, kvType };
      const tokens = { qk: x, qkv: x, rotations: buffer, slots: buffer, rotated: buffer };
      ropeStore(one, { label: "rope", shape, tokens, pages });
      const queryNorms = await createWeights(device, {
        label: "norms",
        format: F32,
        n: 1,
        k: 2 * heads.headWidth,
      });
      ropeStore(one, { label: "rope", shape, tokens: { ...tokens, queryNorms }, pages });
      const buffers = { pages, pageTable: buffer, work, partial: buffer, x };
      storeAndAttend(one, { label: "both", shape, tokens, buffers });
      attend(one, { label: "attend", shape, queries: buffer, buffers });
      attend(one, {
        label: "attend",
        shape,
        queries: buffer,
        buffers: { ...buffers, keyRotations: buffer },
      });
      attentionWeights(one, {
        label: "weights",
        shape,
        queries: buffer,
        keys: buffer,
        pageTable: buffer,
        work: buffer,
        tokens: 1,
        weights: buffer,
      });
      attentionWeights(one, {
        label: "weights",
        shape,
        queries: buffer,
        keys: buffer,
        pageTable: buffer,
        work: buffer,
        tokens: 1,
        weights: buffer,
        keyRotations: buffer,
      });
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

const OTHER_ADAPTERS = [
  "cpu/attention-cpu",
  "cpu/planes/bits",
  "cpu/planes/interleaved",
  "cpu/planes/scales",
  "cpu/planes/pairs",
  "cpu/planes/quants",
  "cpu/inputs/norm-uniform",
  "cpu/inputs/uniform",
  "cpu/matmul-cpu",
  "matrix/matmul-matrices",
  "cpu/matvec-cpu",
  "cpu/reduce-eight",
  "rows/reduce-subgroup",
  ...shaderNames().filter((shader) => shader.startsWith("matrix/matrices/")), // test/kernels/matrices.test.ts
];

describe("every kernel that a recipe asks for", () => {
  test("compiles on the least of adapters, and no shader is left out", async () => {
    const shaders = new Set<string>();
    const library = new KernelLibrary(gpu.device, (name) => {
      shaders.add(name);
      return shaderSource(name);
    });
    await askForAll(gpu.device, library);
    await library.ready();
    // What only other adapters get is compiled below.
    expect([...shaders, ...OTHER_ADAPTERS].sort()).toEqual(shaderNames());
    gpu.device.check();
  });

  test("compiles what software adapters and known subgroups get", async () => {
    await using device = await openDevice({ null: true });
    expect(device.features.has("subgroups")).toBe(true);
    const library = new KernelLibrary(device, shaderSource);
    const EPS = 1e-5;
    for (const format of FORMATS.values()) {
      const [own, interleaved] = [decoderOf(format), decoderOf(format, "interleaved")];
      for (const memory of ["storage", "uniform"]) {
        for (const output of [
          ["matrix/outputs/plain"],
          ...ACTIVATIONS.map((name) => ["matrix/outputs/gated", `rows/${name}`]),
        ]) {
          const room = memory === "uniform" ? "cpu/inputs" : "matrix/inputs";
          const inputs = [`${room}/${memory}`, `${room}/norm-${memory}`, "matrix/inputs/normed"];
          const rest = [...inputs, ...output];
          const fragments = [...own, ...rest, "rows/reduce-subgroup"];
          library.kernel({
            shader: "matrix/matvec",
            fragments,
            overrides: { LANES: 8, ROWS: 32, EPS },
          });
          const eight = [...interleaved, ...rest, "cpu/reduce-eight"];
          library.kernel({ shader: "cpu/matvec-cpu", fragments: eight, overrides: { EPS } });
        }
      }
      for (const input of [
        ["matrix/inputs/plain"],
        ["cpu/inputs/norm-uniform", "matrix/inputs/normed"],
      ]) {
        const fragments = [...interleaved, "matrix/inputs/storage", ...input, "cpu/reduce-eight"];
        const overrides = { LAST_SHARE: 0.5, ...(input.length > 1 ? { EPS: 1e-5 } : {}) };
        library.kernel({ shader: "cpu/matmul-cpu", fragments, overrides });
      }
    }
    for (const { fragment } of Object.values(KV_FORMATS)) {
      for (const keys of [
        ["attention/keys/rotated"],
        ["attention/keys/raw", "attention/rotations/halves"],
      ]) {
        for (const scores of [
          ["attention/scores/plain"],
          ["attention/scores/capped", "rows/softcap"],
        ]) {
          library.kernel({
            shader: "cpu/attention-cpu",
            fragments: [
              fragment,
              ...keys,
              "attention/queries/rotated",
              ...scores,
              "attention/sight/causal",
              "attention/work",
            ],
            overrides: {
              ...{ H: 9, G: 3, E: 64, P: 16, STRIDE: 576 },
              ...(keys.length > 1 ? { GAP: 32 } : {}),
              ...(scores.length > 1 ? { CAP: 50 } : {}),
            },
          });
        }
      }
    }
    library.kernel({
      shader: "rows/rms-norm",
      fragments: ["rows/reduce-subgroup", "rows/norms/weighted"],
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
        const least = spec.shader === "attention/attention" ? overrides.E! / 32 : 8;
        if (lanes >= least) other.kernel({ ...spec, overrides: { ...overrides, LANES: lanes } });
      }
    }
    await other.ready();
    gpu.device.check();
  });

  test("matrices of a format share their kernels, whatever their sizes", async () => {
    const library = new Recording(gpu.device, shaderSource);
    const { adapter, params } = gpu;
    const target = targetOf({ adapter, library, params }, "several");
    const made = [];
    for (const [n, k] of [
      [40, 256],
      [3, 64],
      [1000, 32],
    ] as const) {
      const weights = await createWeights(gpu.device, { label: "w", format: F32, n, k });
      const x = await createActivations(gpu.device, "x", 2, k);
      const y = await createActivations(gpu.device, "y", 2, n);
      made.push(project(target, { x, weights, y })[0]!.kernel);
    }
    expect(new Set(made).size).toBe(1);
  });
});

describe("what a mismatch throws", () => {
  const SHADER = `// a shader
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
    new Kernel(gpu.device, { shader: "scale", overrides: { WIDTH: 4 }, ...spec }, () => text);
  const storage = () => gpu.device.createBuffer("any", 64, USAGE.STORAGE);
  const uniforms = () => gpu.device.createBuffer("any", 64, USAGE.UNIFORM);

  test("nothing where both agree: bindings and params are read off the shader", async () => {
    const kernel = kernelOf(SHADER);
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

  test("an override that the shader does not declare", () => {
    expect(() => kernelOf(SHADER, { overrides: { WIDTH: 4, HEIGHT: 5 } })).toThrow(
      new KernelError("scale: no override named HEIGHT"),
    );
  });

  test("an override that the shader needs and does not get", async () => {
    const device = await openDevice({ null: true });
    const kernel = new Kernel(device, { shader: "scale" }, () => SHADER);
    await expect(kernel.ready).rejects.toThrow(/^scale: [\s\S]*WIDTH/);
    await device.close();
  });

  test("a binding that is missing, and one that is unknown", async () => {
    const kernel = kernelOf(SHADER);
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

  test("two variables with one index, also across shaders", () => {
    const twice = SHADER.replace("@binding(3)", "@binding(0)");
    expect(() => kernelOf(twice)).toThrow(new KernelError("scale: x and y share binding 0"));
    const shaders: Record<string, string> = {
      scale: SHADER,
      "formats/other": "@group(0) @binding(3) var<storage, read> w: array<u32>;\n",
    };
    expect(
      () =>
        new Kernel(
          gpu.device,
          { shader: "scale", fragments: ["formats/other"] },
          (name) => shaders[name]!,
        ),
    ).toThrow(new KernelError("scale.other: y and w share binding 3"));
  });

  test("a binding that the house rules cannot read", () => {
    const group1 = SHADER.replace("@group(0) @binding(3)", "@group(1) @binding(3)");
    expect(() => kernelOf(group1)).toThrow(
      new KernelError("scale: 3 bindings declared, 2 understood"),
    );
  });

  test("a shader that does not compile: kernel, line and text", async () => {
    const device = await openDevice({ null: true });
    const broken = SHADER.replace("params.scale", "params.scales");
    const kernel = new Kernel(device, { shader: "scale" }, () => broken);
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
    const shaders: Record<string, string> = {
      scale: SHADER.replace("params.scale", "params.scale * f32(half())"),
      halves: "// halves\nenable f16;\nfn half() -> f16 { return f16(0.5); }\n",
      broken: "// halves\nenable f16;\nfn half() -> f16 { return f16(0.5) }\n",
    };
    const overrides = { WIDTH: 4 };
    const source = (name: string) => shaders[name]!;
    const kernel = new Kernel(
      device,
      { shader: "scale", fragments: ["halves"], overrides },
      source,
    );
    await kernel.ready;
    const bad = new Kernel(device, { shader: "scale", fragments: ["broken"], overrides }, source);
    const message = await bad.ready.catch((error: Error) => error.message);
    // The third line of the fragment, after the lines of the shader and the newline that joins them.
    const line = shaders.scale!.split("\n").length + 3;
    expect(message).toMatch(new RegExp(`^${line}:\\d+ [^\\n]*\\n    fn half\\(\\)`, "m"));
    await device.close();
  });

  test("a step value that a kernel needs", async () => {
    const kernel = kernelOf(SHADER.replaceAll("scale", "steps"));
    const params = await ParamBlock.create(gpu.device, "params");
    params.slot(kernel);
    expect(() => params.write({ tokens: 1 })).toThrow(
      new KernelError("scale: missing param steps"),
    );
    params.write({ tokens: 1, steps: 0.5, merges: 3 });
  });

  test("a library reports what failed when it is asked whether it is ready", async () => {
    const device = await openDevice({ null: true });
    const library = new KernelLibrary(device, () => SHADER.replace("y[id.x] =", "y[id.x] +"));
    library.kernel({ shader: "scale", overrides: { WIDTH: 4 } });
    await expect(library.ready()).rejects.toThrow(/^scale: /);
    await device.close();
  });
});

describe("params", () => {
  const declare = (fields: string) =>
    new Kernel(
      gpu.device,
      { shader: "p" },
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

  test("a shader whose fields do not fit the rule would be packed wrongly: all shaders do fit", () => {
    for (const shader of shaderNames()) {
      const body = /struct Params \{([^}]*)\}/.exec(shaderSource(shader))?.[1];
      if (body === undefined) continue;
      const fields = body.split("\n").filter((line) => line.trim() !== "");
      for (const field of fields) expect(field).toMatch(/^ {2}\w+: (u32|i32|f32),/);
    }
  });
});

test("variables in loops say what they begin with", () => {
  // WGSL would begin with zeros each time that the declaration is met; this Dawn does once (webgpu 0.6.2).
  for (const shader of shaderNames()) {
    expect(shaderSource(shader), shader).not.toMatch(/^ {4,}var \w+: [^=]*;/m);
  }
});

afterAll(() => {
  gpu.device.check();
});
