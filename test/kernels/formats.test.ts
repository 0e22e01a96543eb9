// The fifteen weight formats: the plain decoders against golden vectors, then the GPU against the plain decoders.

import { describe, expect, test } from "vitest";
import { project } from "../../src/kernels/matrix/products.ts";
import * as reference from "../../src/kernels/reference.ts";
import { embed } from "../../src/kernels/rows/rows.ts";
import { halves, rowBytes, type WeightFormat } from "../../src/kernels/weights/formats/format.ts";
import { FORMATS } from "../../src/kernels/weights/formats/index.ts";
import { planeRowBytes, weightBytes } from "../../src/kernels/weights/layout.ts";
import { createWeights, type Weights } from "../../src/kernels/weights/tensor.ts";
import { uploadWeights } from "../../src/kernels/weights/upload.ts";
import { decode, randomFloats, randomTensor } from "../../src/laboratory/kernels/random.ts";
import { type TestGpu, useGpu } from "../support/gpu.ts";
import { expectClose, HALF_ULP } from "../support/numbers.ts";

const gpu = await useGpu();
/** Without subgroups, other shaders multiply than with the eight lanes of a software adapter. */
const tiled = await useGpu({ refuse: ["subgroups"] });
/** A graphics card has other workgroups, and no use for uniform bindings. */
const card = await useGpu({ card: true });

const formats = [...FORMATS.values()];
const blockFormats = formats.filter(({ blockWeights }) => blockWeights > 1);
const plainFormats = formats.filter(({ blockWeights }) => blockWeights === 1);

describe("the plain decoders", () => {
  // Made with gguf-py (algorithms 2.3): five weights, the sum, and the sum weighted with 1, 2, 3, ...
  const GOLDEN = [
    ["Q4_0", [1.5, -2, 1.5, -4, -4], -16.5, -399.5],
    ["Q4_1", [6.75, 3.25, 2.25, 4.75, 4.75], 120.5, 1865],
    ["Q5_0", [7.5, 4, 6.5, -7, 1], -22.5, -592.5],
    ["Q5_1", [8.75, 5.25, 11.75, 13.75, 5.75], 258.5, 4156],
    ["Q8_0", [-34.5, 2, 37.5, -54, -55], -24, -344],
    ["IQ4_NL", [19, -24.5, 19, -63.5, -63.5], -240.5, -6038],
    ["Q2_K", [4, 8.5, -2.75, 19.25, -1.75], 1021.5, 125495],
    ["Q3_K", [-3.5, 7, 0, -8.5, -12], 117, 17373],
    ["Q4_K", [46.25, 0.75, -14.5, 297, -5.75], 26676, 3684684],
    ["Q5_K", [150.25, 0.75, 183.5, 337, -5.75], 55036, 7452252],
    ["Q6_K", [80.5, -23, -1845, -1067, 144], -7422, -814064],
    ["IQ4_XS", [-1508, 362.5, 50, -157.5, -375], -3225, 441525.5],
  ] as const;
  test.each(GOLDEN)("%s decodes gguf-py's golden block", (name, weights, sum, weightedSum) => {
    const format = FORMATS.get(name)!;
    const block = Uint8Array.from({ length: format.blockBytes }, (_, i) => 73 * i + 41);
    format.scaleOffsets.forEach((at, i) => {
      block.set([0x00, i === 0 ? 0x38 : 0x34], at); // d = 0.5, then m or dmin = 0.25
    });
    const y = decode(format, block);
    const at = format.blockWeights === 32 ? [0, 1, 16, 17, 31] : [0, 1, 33, 100, 255];
    expect(at.map((i) => y[i])).toEqual(weights);
    expect(y.reduce((a, b) => a + b, 0)).toBe(sum);
    expect(y.reduce((a, b, i) => a + (i + 1) * b, 0)).toBe(weightedSum);
  });

  test("every format has a golden block or is plain", () => {
    expect(blockFormats.map(({ name }) => name).sort()).toEqual(
      GOLDEN.map(([name]) => name).sort(),
    );
    expect(plainFormats.map(({ name }) => name)).toEqual(["F32", "F16", "BF16"]);
  });

  test.each([
    [
      "F32",
      [0x00, 0x00, 0x80, 0x3f, 0xdb, 0x0f, 0x49, 0xc0, 0, 0, 0, 0x80],
      [1, -Math.fround(Math.PI), -0],
    ],
    ["F16", [0x00, 0x3c, 0xff, 0xfb, 0x01, 0x00, 0x00, 0x04], [1, -65504, 2 ** -24, 2 ** -14]],
    ["BF16", [0x80, 0x3f, 0x49, 0xc0, 0x01, 0x00], [1, -3.140625, 2 ** -133]],
  ])("%s decodes numbers written down by hand", (name, bytes, weights) => {
    expect([...decode(FORMATS.get(name)!, Uint8Array.from(bytes))]).toEqual(weights);
  });
});

describe("regrouping", () => {
  test.each(formats)("$name moves bits and loses none", (format) => {
    // Three blocks, so that blocks of 2 (mod 4) bytes begin in the middle of a word too. Where every bit of the file,
    // flipped alone, flips exactly one bit of the planes, and another one each time, regrouping moves bits only.
    const blocks = 3;
    const file = randomTensor(format, 1, blocks * format.blockWeights, 1);
    const regroup = () => {
      const k = blocks * format.blockWeights;
      const planes = format.planes.map((plane) => new Uint8Array(planeRowBytes(plane, k)));
      format.regroup(file, blocks, planes);
      return planes.flatMap((plane) => [...plane]);
    };
    const before = regroup();
    const targets = new Set<string>();
    for (let bit = 0; bit < 8 * file.length; bit++) {
      file[bit >> 3]! ^= 1 << (bit & 7);
      const after = regroup();
      file[bit >> 3]! ^= 1 << (bit & 7);
      const changed = after.flatMap((byte, i) =>
        byte === before[i] ? [] : [`${i}:${byte ^ before[i]!}`],
      );
      expect(changed.length, `bytes that bit ${bit} of the file changes`).toBe(1);
      expect(Math.log2(Number(changed[0]!.split(":")[1])) % 1, `bit ${bit} alone`).toBe(0);
      targets.add(changed[0]!);
    }
    expect(targets.size).toBe(8 * file.length);
  });

  test("hands a format whose blocks have an odd number of bytes all of them", async () => {
    // As MXFP4: 17 bytes for 32 weights. Nine rows of three blocks, in rows that fill planes and rows that do not.
    const given: number[] = [];
    const odd: WeightFormat = {
      ...FORMATS.get("Q4_0")!,
      name: "ODD",
      blockBytes: 17,
      planes: [{ name: "quants", unit: "chunk", bytes: 16 }],
      regroup: (file, blocks) => {
        expect(file.length).toBe(17 * blocks);
        given.push(...file);
      },
    };
    const super17: WeightFormat = { ...odd, planes: [{ ...odd.planes[0]!, unit: "super-block" }] };
    for (const format of [odd, super17]) {
      given.length = 0;
      const weights = await createWeights(gpu.device, { label: "odd", format, n: 9, k: 96 });
      const file = Uint8Array.from({ length: 459 }, (_, i) => 73 * i + 41);
      await uploadWeights(gpu.device, weights, async (at, into) => {
        into.set(file.subarray(at, at + into.length));
      });
      expect(given).toEqual([...file]);
      gpu.release(weights);
    }
    expect(() => halves(new Uint8Array(17))).toThrow("17 bytes are no whole halves");
  });
});

/** The weights of rows `tokens`, decoded by the GPU. */
async function rowsOf(weights: Weights, tokens: readonly number[]): Promise<Float32Array> {
  const ids = await gpu.buffer(Uint32Array.from(tokens));
  const x = await gpu.activations(tokens.length, weights.k);
  await gpu.run(embed(gpu.several, { tokens: ids, choices: ids, table: weights, x }), {
    tokens: tokens.length,
  });
  const rows = await gpu.readActivations(x);
  gpu.release(ids, x);
  return rows;
}

/** y [T, n] of x [T, k], by matvec where T is 1 and by matmul otherwise; added to `addend` where that is given. */
async function multiply(
  gpu: TestGpu,
  weights: Weights,
  x: Float32Array,
  tokens: number,
  addend?: Float32Array,
): Promise<Float32Array> {
  const from = await gpu.activations(tokens, weights.k, x);
  // Two more rows than the step has tokens: they must stay as they are.
  const spare = new Float32Array(2 * weights.n).fill(7);
  const before = addend ?? new Float32Array(tokens * weights.n);
  const to = await gpu.activations(tokens + 2, weights.n, [...before, ...spare]);
  const target = tokens === 1 ? gpu.one : gpu.several;
  await gpu.run(project(target, { x: from, weights, y: to, add: addend !== undefined }), {
    tokens,
  });
  const y = await gpu.readActivations(to);
  gpu.release(from, to);
  expect(y.subarray(tokens * weights.n), "rows beyond the step").toEqual(spare);
  return y.subarray(0, tokens * weights.n);
}

/** Rows that are no multiple of 8 or of 32, and one row alone. */
const ROWS = [1, 7, 45];

/** Widths: one chunk, several with an odd number of blocks a row, many of which the last super-block has fewer; with tails. */
const widthsOf = ({ blockWeights }: WeightFormat): readonly number[] =>
  blockWeights === 1
    ? [32, 36, 172, 1132]
    : blockWeights === 32
      ? [32, 96, 1312]
      : [256, 768, 2304];

describe.each(formats)("$name on the GPU", (format) => {
  const widths = widthsOf(format);

  test.each(widths)("decodes rows of %d as the plain decoder does", async (k) => {
    for (const n of ROWS) {
      const file = randomTensor(format, n, k, n * k);
      const weights = await gpu.weights(format, n, k, file);
      const tokens = [n - 1, 0, n >> 1, n - 1, ...Array.from({ length: n }, (_, row) => row)];
      const all = decode(format, file);
      const expected = tokens.flatMap((row) => [...all.subarray(row * k, (row + 1) * k)]);
      // Equal to the last bit: all products of scales and quants fit the 24 bits of an f32 (but Q6_K's, rounded once on
      // either side), and a minimum is subtracted with one rounding, which WGSL asks to be the correct one.
      expectClose(await rowsOf(weights, tokens), expected, {}, `[${n}, ${k}]`);
      gpu.release(weights);
    }
  });

  test.each(widths)("multiplies rows of %d as decoding and projecting does", async (k) => {
    const counts = k === widths[1] ? [1, 2, 7, 31, 32, 33] : [1, 3];
    for (const n of ROWS) {
      const file = randomTensor(format, n, k, n + k);
      const weights = await gpu.weights(format, n, k, file);
      const same = await tiled.weights(format, n, k, file);
      const again = await card.weights(format, n, k, file);
      const w = decode(format, file);
      for (const tokens of counts) {
        const x = randomFloats(tokens, tokens * k);
        // The addend takes turns, so that adding and replacing are both tried by all.
        const addend = addsFor(format, tokens) ? randomFloats(n, tokens * n, 100) : undefined;
        const expected = reference
          .project(x, w, tokens, n, k)
          .map((y, i) => y + (addend?.[i] ?? 0));
        // k products and sums, each rounded once: at most (k + 1) half ulps of the sum of the magnitudes.
        const magnitudes = reference.project(x.map(Math.abs), w.map(Math.abs), tokens, n, k);
        const abs = magnitudes.map((m, i) => (k + 1) * HALF_ULP * (m + Math.abs(addend?.[i] ?? 0)));
        const what = `[${n}, ${k}] times ${tokens}`;
        expectClose(await multiply(gpu, weights, x, tokens, addend), expected, { abs }, what);
        expectClose(await multiply(tiled, same, x, tokens, addend), expected, { abs }, what);
        if (tokens > 1) continue; // by the same shader as without subgroups
        expectClose(await multiply(card, again, x, tokens, addend), expected, { abs }, what);
      }
      gpu.release(weights);
      tiled.release(same);
      card.release(again);
    }
  });
});

/** Whether a format adds to y: half of the formats do in matvec, the other half in matmul. */
function addsFor(format: WeightFormat, tokens: number): boolean {
  return (formats.indexOf(format) % 2 === 0) === (tokens === 1);
}

test.each([
  [1, gpu],
  [1, tiled],
  [1, card],
  [5, gpu],
  [5, tiled],
])("adding and replacing differ by the addend alone, %d tokens", async (tokens, on) => {
  const format = FORMATS.get("Q4_K")!;
  const [n, k] = [45, 256];
  const weights = await on.weights(format, n, k, randomTensor(format, n, k, 3));
  const x = randomFloats(1, tokens * k);
  const addend = randomFloats(2, tokens * n, 100);
  const [plain, added] = [
    await multiply(on, weights, x, tokens),
    await multiply(on, weights, x, tokens, addend),
  ];
  // One addition, rounded once.
  expectClose(
    added,
    plain.map((y, i) => Math.fround(y + addend[i]!)),
    {},
  );
  on.release(weights);
});

test.each([
  [300, gpu],
  [300, tiled],
])("more rows and tokens than workgroups take: %d tokens", async (tokens, on) => {
  const format = FORMATS.get("Q8_0")!;
  const [n, k] = [1100, 288];
  const file = randomTensor(format, n, k, 4);
  const weights = await on.weights(format, n, k, file);
  const x = randomFloats(1, tokens * k);
  const expected = reference.project(x, decode(format, file), tokens, n, k);
  const magnitudes = reference.project(
    x.map(Math.abs),
    decode(format, file).map(Math.abs),
    tokens,
    n,
    k,
  );
  const abs = magnitudes.map((m) => (k + 1) * HALF_ULP * m);
  expectClose(await multiply(on, weights, x, tokens), expected, { abs });
  on.release(weights);
});

test("a tensor larger than one slice of the upload arrives whole", async () => {
  // 1 MiB a slice: 5.1 MiB here, and 20 blocks a row of which every other one begins in the middle of a word.
  const format = FORMATS.get("Q6_K")!;
  const [n, k] = [1283, 5120];
  const file = randomTensor(format, n, k, 5);
  const weights = await gpu.weights(format, n, k, file);
  const last = [0, 1, 640, 998, 999, 1000, 1001, 1281, 1282];
  const all = decode(format, file);
  const expected = last.flatMap((row) => [...all.subarray(row * k, (row + 1) * k)]);
  expectClose(await rowsOf(weights, last), expected, {});
  gpu.release(weights);
});

describe("memory", () => {
  // Shapes of TinyLlama, SmolLM and Llama 3: what models ship, not what is smallest.
  const shapes = [
    [2048, 2048],
    [5632, 2048],
    [576, 1536],
    [128256, 4096],
  ] as const;

  test.each(formats)("$name takes at most 1.05 times the bytes of the file", (format) => {
    for (const [n, k] of shapes) {
      expect(weightBytes(format, n, k) / (n * rowBytes(format, k))).toBeLessThanOrEqual(1.05);
    }
  });

  test.each(formats)("$name: the GPU holds what weightBytes says", async (format) => {
    const before = gpu.device.memory.bytes;
    const [n, k] = [45, 768];
    const weights = await gpu.weights(format, n, k, randomTensor(format, n, k, 1));
    expect(weights.bytes).toBe(weightBytes(format, n, k));
    expect(gpu.device.memory.bytes - before).toBe(weights.bytes);
    gpu.release(weights);
    expect(gpu.device.memory.bytes).toBe(before);
  });
});
