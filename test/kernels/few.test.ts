// The products of up to sixteen tokens. What becomes of a token must not depend on which others a step has: each row is
// compared, to the last bit, with what the same token becomes alone, and that with reference.ts.

import { describe, expect, test } from "vitest";
import { FEW, type Target } from "../../src/kernels/adapter/target.ts";
import { gate, type InputNorm, project } from "../../src/kernels/matrix/products.ts";
import * as reference from "../../src/kernels/reference.ts";
import { embed, normalize } from "../../src/kernels/rows/rows.ts";
import type { WeightFormat } from "../../src/kernels/weights/formats/format.ts";
import { FORMATS } from "../../src/kernels/weights/formats/index.ts";
import type { Weights } from "../../src/kernels/weights/tensor.ts";
import { decode, randomFloats, randomTensor } from "../../src/laboratory/kernels/random.ts";
import { type TestGpu, useGpu } from "../support/gpu.ts";
import { expectClose } from "../support/numbers.ts";

/** What multiplies differs between these: eight lanes of a software adapter, lanes without subgroups, lanes of a card. */
const adapters = {
  "as it is": await useGpu(),
  "without subgroups": await useGpu({ refuse: ["subgroups"] }),
  "as a card": await useGpu({ card: true }),
};

const COUNTS = [1, 2, 3, 5, 8, 13, FEW];
const EPS = 1e-5;

/** How a product is asked for, and what it is. */
interface Kind {
  readonly normed?: boolean;
  readonly gated?: boolean;
  readonly add?: boolean;
  readonly bias?: boolean;
}
const KINDS: Readonly<Record<string, Kind>> = {
  plain: {},
  "added, with a bias": { add: true, bias: true },
  normed: { normed: true },
  "normed and gated": { normed: true, gated: true },
};

const CARD_CASES = new Set(["F16 added, with a bias", "Q4_1 plain", "Q4_K normed"]);

/** Rows that are no multiple of 8, and of several workgroups on a card. */
const N = 88; // a gate and its other half have a multiple of four rows each
/** Odd numbers of blocks, the last super-block of fewer chunks and, if blocks allow it, the last chunk of fewer numbers. */
const widthOf = ({ blockWeights }: WeightFormat) =>
  blockWeights === 1 ? 556 : blockWeights === 32 ? 544 : 768;

/** One format on one adapter: inputs of sixteen tokens, and what a matrix makes of some of them. */
class Products {
  readonly k: number;
  readonly x: Float32Array;
  readonly factors: Float32Array;
  readonly addend = randomFloats(4, FEW * N, 3);
  readonly file: Uint8Array<ArrayBuffer>;
  readonly added = randomFloats(5, N);

  readonly gpu: TestGpu;
  readonly format: WeightFormat;

  constructor(gpu: TestGpu, format: WeightFormat) {
    [this.gpu, this.format] = [gpu, format];
    this.k = widthOf(format);
    this.x = randomFloats(2, FEW * this.k);
    this.factors = randomFloats(3, this.k, 2);
    this.file = randomTensor(format, N, this.k, 1);
  }

  /** What comes of tokens [first, first + count), with two rows beyond them that must stay as they are. */
  async rows(target: Target, weights: Weights, kind: Kind, first: number, count: number) {
    const { gpu, k } = this;
    const width = kind.gated ? N / 2 : N;
    const beyond = new Float32Array(2 * width).fill(7);
    const before = kind.add
      ? this.addend.subarray(first * N, (first + count) * N)
      : new Float32Array(count * width);
    const x = await gpu.activations(count, k, this.x.subarray(first * k, (first + count) * k));
    const [y, gateUp] = [
      await gpu.activations(count + 2, width, [...before, ...beyond]),
      await gpu.activations(count + 2, N),
    ];
    const weight = await gpu.vector(this.factors);
    const bias = kind.bias ? await gpu.vector(this.added) : undefined;
    const norm: InputNorm | undefined = kind.normed ? { weight, eps: EPS, into: y } : undefined;
    const dispatches = kind.gated
      ? gate(target, {
          label: "gate",
          x,
          weights,
          gateUp,
          hidden: y,
          activation: "silu",
          norm,
        })
      : project(target, { x, weights, y, norm, add: kind.add ?? false, bias });
    await gpu.run(dispatches, { tokens: count });
    const found = await gpu.readActivations(y);
    gpu.release(x, y, gateUp, weight, ...(bias ? [bias] : []));
    expect(found.subarray(count * width), "rows beyond the step").toEqual(beyond);
    return found.subarray(0, count * width);
  }

  /** What reference.ts makes of all of them. */
  expected({ normed, gated, add, bias }: Kind): Float64Array {
    const input = normed ? reference.rmsNorm(this.x, this.factors, FEW, EPS) : this.x;
    const y = reference
      .project(input, decode(this.format, this.file), FEW, N, this.k)
      .map((sum, i) => sum + (add ? this.addend[i]! : 0) + (bias ? this.added[i % N]! : 0));
    if (!gated) return y;
    const half = (from: number) =>
      Float64Array.from({ length: (FEW * N) / 2 }, (_, i) => {
        const [t, row] = [Math.floor(i / (N / 2)), i % (N / 2)];
        return y[t * N + from + row]!;
      });
    return reference.gatedActivation(half(0), half(N / 2), "silu");
  }
}

describe.each(Object.entries(adapters))("an adapter %s", (name, gpu) => {
  // Each format takes a turn with one kind, and Q4_K has all: to compile them takes seconds.
  const cases = [...FORMATS.values()].flatMap((format, i) =>
    Object.entries(KINDS)
      .filter(
        ([kind], j) =>
          i % 4 === j || (name === "as it is" && (kind === "plain" || format.name === "Q4_K")),
      )
      .filter(([kind]) => name !== "as a card" || CARD_CASES.has(`${format.name} ${kind}`))
      .map(([kind, what]) => [format.name, kind, format, what] as const),
  );

  test.each(cases)("%s, %s: every row is what it is alone", async (_, __, format, kind) => {
    const products = new Products(gpu, format);
    const weights = await gpu.weights(format, N, products.k, products.file);
    const width = kind.gated ? N / 2 : N;
    const alone = new Float32Array(FEW * width);
    for (let t = 0; t < FEW; t++) {
      alone.set(await products.rows(gpu.one, weights, kind, t, 1), t * width);
    }
    const expected = products.expected(kind);
    const scale = Math.sqrt(expected.reduce((sum, y) => sum + y * y, 0) / expected.length);
    expectClose(alone, expected, { abs: 2e-5 * scale });
    for (const count of COUNTS) {
      const first = (FEW - count) >> 1; // so that a token is not always in the same place
      const found = await products.rows(gpu.few, weights, kind, first, count);
      expectSame(found, alone.subarray(first * width, (first + count) * width), `${count} tokens`);
    }
    gpu.release(weights);
  });

  test("norms of heads and rows of the embedding are the same in a step of any size", async () => {
    const [heads, e] = [3, 64];
    const format = FORMATS.get("Q4_K")!;
    const [vocabulary, k] = [37, 256];
    const numbers = randomFloats(1, FEW * heads * e);
    const weight = await gpu.vector(randomFloats(2, e));
    const table = await gpu.weights(format, vocabulary, k, randomTensor(format, vocabulary, k, 3));
    const rows = async (target: Target, first: number, count: number) => {
      const own = numbers.subarray(first * heads * e, (first + count) * heads * e);
      const x = await gpu.activations(count, heads * e, own);
      const y = await gpu.activations(count, heads * e);
      const embedded = await gpu.activations(count, k);
      const tokens = await gpu.buffer(Uint32Array.from({ length: count }, (_, t) => first + 2 * t));
      const dispatches = [
        ...normalize(target, { x, weight, y, eps: EPS }),
        ...embed(target, { tokens, choices: tokens, table, x: embedded }),
      ];
      await gpu.run(dispatches, { tokens: count });
      const found = [await gpu.readActivations(y), await gpu.readActivations(embedded)];
      gpu.release(x, y, embedded, tokens);
      return found as [Float32Array, Float32Array];
    };
    const [norms, embeddings] = await rows(gpu.few, 0, FEW);
    for (const t of [0, 6, FEW - 1]) {
      const [norm] = await rows(gpu.one, t, 1);
      expectSame(norms.subarray(t * heads * e, (t + 1) * heads * e), norm, `norm of token ${t}`);
      const [, embedding] = await rows(gpu.one, 2 * t, 1);
      expectSame(embeddings.subarray(t * k, (t + 1) * k), embedding, `embedding of token ${t}`);
    }
    gpu.release(weight, table);
  });
});

/** Equal to the last bit. */
function expectSame(found: Float32Array, expected: Float32Array, what: string): void {
  const bits = (numbers: Float32Array) => new Uint32Array(numbers.slice().buffer);
  const [a, b] = [bits(found), bits(expected)];
  expect(a.length, what).toBe(b.length);
  const first = a.findIndex((word, i) => word !== b[i]);
  if (first >= 0) {
    const differing = a.filter((word, i) => word !== b[i]).length;
    expect.fail(
      `${what}: ${differing} of ${a.length} numbers differ, first ${first}: ${found[first]}, alone ${expected[first]}`,
    );
  }
}
