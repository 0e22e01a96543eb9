// Kv types of the cache: the plain quantisers against files that llama.cpp has quantised, then the GPU against them.

import { describe, expect, test } from "vitest";
import { openGguf } from "../../src/engine/gguf/gguf.ts";
import {
  bytesOfNumber,
  KV_FORMATS,
  KV_TYPES,
  type KvType,
  packKv,
  throughKv,
  unpackKv,
} from "../../src/kernels/attention/kv-types.ts";
import { FORMATS } from "../../src/kernels/weights/formats/index.ts";
import { floatToHalf } from "../../src/kernels/weights/half.ts";
import { randomFloats } from "../../src/laboratory/kernels/random.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { shapeOf } from "../support/attention.ts";
import { useGpu } from "../support/gpu.ts";
import { fixtureModel } from "../support/models.ts";
import { rotateAndStore } from "../support/rope-store.ts";

const gpu = await useGpu();
const BLOCK = 32;
const QUANTISED = ["q8_0", "q4_0"] as const;

test("a number takes 4, 2, 1.125 and 0.625 bytes", () => {
  expect(KV_TYPES.map(bytesOfNumber)).toEqual([4, 2, 36 / 32, 20 / 32]);
});

describe.each(QUANTISED)("%s in plain TypeScript", (kvType) => {
  const format = FORMATS.get(kvType.toUpperCase())!;
  const { blockBytes } = KV_FORMATS[kvType];

  /** The bytes of ggml's blocks: there a scale stands first, and in two bytes. */
  function toGgml(words: Uint32Array): Uint8Array {
    const bytes = new Uint8Array(words.buffer);
    const blocks = Array.from({ length: bytes.length / blockBytes }, (_, i) =>
      bytes.subarray(i * blockBytes, (i + 1) * blockBytes),
    );
    return Uint8Array.from(
      blocks.flatMap((block) => [
        ...block.subarray(blockBytes - 4, blockBytes - 2),
        ...block.subarray(0, blockBytes - 4),
      ]),
    );
  }

  test("packs the tensors of a model to the bytes that llama.cpp packs them to", async () => {
    const tensors = async (name: string) => {
      const file = await openGguf(fixtureModel(name), nodePlatform.openFile);
      const read = async (tensor: string) => {
        const { source, offset, bytes, type } = file.tensors.get(tensor)!;
        const data = new Uint8Array(bytes);
        await source.read(offset, data);
        return { data, type };
      };
      return { file, read };
    };
    const plain = await tensors("stories260K-F32.gguf");
    const packed = await tensors(`stories260K-${format.name}.gguf`);
    let compared = 0;
    for (const name of packed.file.tensors.keys()) {
      const { data, type } = await packed.read(name);
      if (type !== format.name) continue;
      const numbers = new Float32Array((await plain.read(name)).data.buffer);
      const words = packKv(kvType, numbers);
      expect(Buffer.from(toGgml(words)).equals(data), name).toBe(true);
      const decoded = new Float32Array(numbers.length);
      format.decode(data, decoded);
      expect(unpackKv(kvType, words)).toEqual(decoded);
      compared += numbers.length;
    }
    expect(compared).toBeGreaterThan(150_000);
    await Promise.all([plain.file.close(), packed.file.close()]);
  });
});

describe("on the GPU", () => {
  // Where keys are kept raw, their rotations are all (1, 0): what is stored is what is given.
  const T = 2;
  const rotations = Float32Array.from({ length: 3 * T * 2 * BLOCK }, (_, i) => 1 - (i % 2));

  async function expectStored(kvType: KvType, k: Float32Array, v: Float32Array): Promise<void> {
    const shape = shapeOf({ heads: 2, kvHeads: 2, headWidth: 2 * BLOCK, pageSize: T, kvType });
    const { keys, values } = await rotateAndStore(gpu, shape, T, rotations, { k, v });
    // [T, G, E] as a step has them, to [G, P, E] as a page has them
    const inPage = (rows: Float32Array) => {
      const E = shape.headWidth;
      const page = [0, 2, 1, 3].flatMap((row) => [...rows.subarray(row * E, (row + 1) * E)]);
      return packKv(kvType, Float32Array.from(page));
    };
    expect(keys).toEqual(inPage(k));
    expect(values).toEqual(inPage(v));
  }

  /** Eight blocks of 32. */
  const rows = (make: (block: number, i: number) => number) =>
    Float32Array.from({ length: 8 * BLOCK }, (_, i) => make(Math.floor(i / BLOCK), i % BLOCK));

  // To the bit: every product, quotient and sum of the quantisers is rounded once, and to the nearest, by adapters that
  // divide as IEEE 754 does and store halves to the nearest. WGSL asks for less.
  test.each(QUANTISED)(
    "%s: what is stored is what plain TypeScript packs, to the bit",
    async (kvType) => {
      for (let seed = 0; seed < 20; seed++) {
        // From blocks whose scale is no normal half any more to those whose scale is nearly too large for one.
        const numbers = randomFloats(seed, 16 * BLOCK).map(
          (x, i) => x * 2 ** (((7 * Math.floor(i / BLOCK) + seed) % 40) - 20),
        );
        await expectStored(kvType, numbers.slice(0, 8 * BLOCK), numbers.slice(8 * BLOCK));
      }
    },
  );

  test("q8_0: ties go away from zero, and zeros stay", async () => {
    // The scale is 1: block 1 holds numbers halfway between two quanta, of both signs, and the nearest on either side.
    const halfway = (i: number) => (i === 0 ? 127 : (i % 2 ? 1 : -1) * (Math.floor(i / 4) + 0.5));
    const near = (i: number) => {
      if (i === 0) return -127;
      return Math.fround(halfway(i) * (1 + (i % 4 < 2 ? 2 : -2) * 2 ** -24));
    };
    const numbers = rows((block, i) => [0, halfway(i), near(i), -halfway(i)][block % 4]!);
    await expectStored("q8_0", numbers, numbers);
    const stored = throughKv("q8_0", numbers);
    expect([...stored.subarray(BLOCK, BLOCK + 5)]).toEqual([127, 1, -1, 1, -2]);
    expect(stored.subarray(0, BLOCK)).toEqual(new Float32Array(BLOCK));
  });

  test("q4_0: the first of the largest gives the sign, and the other end is cut to 7 eighths", async () => {
    const numbers = rows((block, i) => {
      if (block % 4 === 0) return 0;
      const ends = block % 4 === 1 ? [8, -8] : [-8, 8];
      return ends[i - 3] ?? (i - 16) / 4;
    });
    await expectStored("q4_0", numbers, numbers);
    const stored = throughKv("q4_0", numbers);
    expect([...stored.subarray(BLOCK + 3, BLOCK + 5)]).toEqual([8, -7]);
    expect([...stored.subarray(2 * BLOCK + 3, 2 * BLOCK + 5)]).toEqual([-8, 7]);
    expect(stored.subarray(0, BLOCK).every((x) => x === 0)).toBe(true);
  });
});

describe("what a type does not hold becomes NaN, and nothing else does", () => {
  /** The numbers that are stored of one key and of one value, a block of 32 each. */
  async function stored(kvType: KvType, numbers: Float32Array) {
    const shape = shapeOf({ heads: 1, kvHeads: 1, headWidth: BLOCK, pageSize: 1, kvType });
    const rotations = Float32Array.from({ length: 3 * BLOCK }, (_, i) => 1 - (i % 2));
    const { keys, values } = await rotateAndStore(gpu, shape, 1, rotations, {
      k: numbers,
      v: numbers,
    });
    return [keys, values].map((words) => unpackKv(kvType, words));
  }
  /** A float and the next one of larger size. */
  const next = (x: number) => {
    const float = Float32Array.of(x);
    new Uint32Array(float.buffer)[0]!++;
    return float[0]!;
  };

  test.each([
    ["f32", 2 ** 128 - 2 ** 104],
    ["f16", 65504],
    ["q8_0", 127 * 65504],
    ["q4_0", 8 * 65504],
  ] as const)("%s: up to %d", async (kvType, largest) => {
    expect(KV_FORMATS[kvType].largest).toBe(largest);
    const isBlock = kvType === "q8_0" || kvType === "q4_0";
    for (const size of [largest, -largest]) {
      for (const numbers of await stored(kvType, new Float32Array(BLOCK).fill(1).fill(size, 7, 8)))
        expect(numbers[7]).toBe(size);
    }
    const infinities = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const bad of [next(largest), next(-largest), ...infinities, Number.NaN]) {
      for (const at of [0, 13, 31]) {
        const given = new Float32Array(BLOCK).fill(1).fill(bad, at, at + 1);
        const expected = [...given.keys()].map((i) => isBlock || i === at);
        // Keys are rotated on the way: the other of a pair is then NaN, too, since an infinity times zero is.
        const [keys, values] = await stored(kvType, given);
        expect(keys![at]).toBeNaN();
        for (const found of [values!, throughKv(kvType, given)])
          expect([...found].map(Number.isNaN), `${bad} at ${at}`).toEqual(expected);
      }
    }
  });
});

test("a scale that is no number shows in every number of its block", () => {
  for (const kvType of QUANTISED) {
    const words = packKv(kvType, new Float32Array(BLOCK).fill(1));
    words[words.length - 1] = floatToHalf(Number.NaN);
    expect(unpackKv(kvType, words).every(Number.isNaN)).toBe(true);
    expect(throughKv(kvType, new Float32Array(BLOCK).fill(Number.NaN)).every(Number.isNaN)).toBe(
      true,
    );
  }
});
