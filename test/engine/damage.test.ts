// A complete model of a few kB, damaged: every byte of its header, and every length. What comes of it is a `UserError`
// or a model that can be run; never another exception, a hang, or memory out of proportion.

import { describe, expect, test, vi } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { type ModelFile, openModel, planMemory } from "../../src/engine/model/open.ts";
import { readRopeDivisors } from "../../src/engine/model/rope-divisors.ts";
import { resolveSetting } from "../../src/engine/options.ts";
import { UserError } from "../../src/errors.ts";
import { uniform } from "../../src/laboratory/kernels/random.ts";
import { bytesOpener, loadEngine } from "../support/engine.ts";
import { ggufHeader, type MetadataEntry, writeGguf } from "../support/gguf-writer.ts";
import { tinyModel } from "../support/tiny-model.ts";

const model = tinyModel({ layers: 1, ropeFreqs: [1, 2, 3, 4] });
const intact = model.bytes;
const headerBytes = ggufHeader(model.contents).dataOffset;

/** The cache of 4096 tokens and the scratch of 256, generously: for a model of 40 kB. */
const MAX_MEMORY = 16 << 20;

/** Everything that happens to a file before a GPU is opened. */
async function open(bytes: Uint8Array): Promise<ModelFile> {
  const file = await openModel("test.gguf", bytesOpener({ "test.gguf": bytes }));
  const { config, tokenizer } = file;
  resolveSetting(config, {});
  const { total, context } = planMemory(file.file, config);
  await readRopeDivisors(file.file, config);
  const ids = tokenizer.encode("abcd xyz");
  tokenizer.decode(ids);
  const numbers = [
    ...Object.values(config).filter((value) => typeof value === "number"),
    ...[config.rope.base, config.rope.originalContext, total, context],
    ...config.traits.map(({ scoreScale }) => scoreScale),
  ];
  // Thrown, not expected: `expect` would take longer than all the rest.
  if (!numbers.every((value) => Number.isFinite(value) && value > 0)) {
    throw new Error(`accepted with ${JSON.stringify(config)}`);
  }
  if (total > MAX_MEMORY) throw new Error(`accepted with ${total} bytes to be allocated`);
  return file;
}

/** Whether the file is accepted; anything but a `UserError` of one line fails the test. */
async function accepts(bytes: Uint8Array, damage: string): Promise<boolean> {
  try {
    await open(bytes);
    return true;
  } catch (error) {
    if (!(error instanceof UserError) || /\n/.test(error.message)) {
      throw new Error(`${damage}: ${String(error)}`, { cause: error });
    }
    return false;
  }
}

function damaged(at: number, value: number): Uint8Array {
  const bytes = intact.slice();
  bytes[at] = value;
  return bytes;
}

const surviving: [at: number, value: number][] = [];

test("the intact model is accepted", async () => {
  expect(await accepts(intact, "nothing")).toBe(true);
  expect(intact.length).toBeLessThan(50_000);
});

test("every byte of the header set to other values", async () => {
  let refused = 0;
  let tried = 0;
  for (let at = 0; at < headerBytes; at++) {
    const byte = intact[at]!;
    for (const value of new Set([0, 1, 0x7f, 0x80, 0xff, byte ^ 1, byte ^ 0x20, byte + 1])) {
      if ((value & 0xff) === byte) continue;
      tried++;
      if (await accepts(damaged(at, value & 0xff), `byte ${at} set to ${value & 0xff}`)) {
        surviving.push([at, value & 0xff]);
      } else refused++;
    }
  }
  // Letters of names, of tokens and of optional keys may change unseen; counts, lengths, types and required keys not.
  expect(refused / tried).toBeGreaterThan(0.5);
  expect(surviving.length).toBeGreaterThan(100);
});

test("every truncation", async () => {
  for (let length = 0; length < intact.length; length += length < headerBytes ? 1 : 61) {
    expect(await accepts(intact.slice(0, length), `cut to ${length}`), `${length} bytes`).toBe(
      false,
    );
  }
});

const A = "llama.";
const HOSTILE_NUMBERS = [
  ...[0, 1, 3, 7, 1e9, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1],
  ...[2 ** 53, 1e30, 1e300, -1, -1e9, Number.NaN, Number.POSITIVE_INFINITY, 1e-30, 1e-300, 0.5],
];

/** Metadata with one key set, in the type given or in that which the key has. */
function withKey(key: string, type: MetadataEntry[1], value: MetadataEntry[2]): Uint8Array {
  const { metadata = [], tensors = [] } = model.contents;
  const others = metadata.filter(([name]) => name !== key);
  return writeGguf({ metadata: [...others, [key, type, value]], tensors });
}

test.each([
  ...["context_length", "embedding_length", "block_count", "feed_forward_length", "vocab_size"],
  ...["attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon"],
  ...["attention.key_length", "attention.value_length", "attention.sliding_window"],
  ...["attention.scale", "rope.freq_base", "rope.dimension_count", "rope.scaling.factor"],
  ...["rope.scale_linear", "rope.scaling.original_context_length", "rope.scaling.attn_factor"],
  ...["rope.scaling.yarn_ext_factor", "rope.scaling.yarn_beta_fast", "expert_count"],
])("absurd values of %s", async (name) => {
  const key = A + name;
  for (const value of HOSTILE_NUMBERS) {
    const isWhole = Number.isInteger(value) && Math.abs(value) < 2 ** 63;
    const types = [
      "f32",
      "f64",
      ...(isWhole ? (["u32", "i32", "i64", "u64"] as const) : []),
    ] as const;
    for (const type of types) {
      const written = isWhole && !type.startsWith("f") ? BigInt(value) : value;
      await accepts(withKey(key, type, written), `${key} = ${value} as ${type}`);
    }
  }
  for (const [type, value] of [
    ["string", "many"],
    ["bool", true],
    ["u32[]", [4, 4]],
    ["u32[]", []],
  ] as const) {
    await accepts(withKey(key, type, value), `${key} = ${String(value)} as ${type}`);
  }
});

test.each([
  [`${A}attention.layer_norm_rms_epsilon`, "f32", Number.POSITIVE_INFINITY],
  [`${A}attention.layer_norm_rms_epsilon`, "f32", Number.NaN],
  [`${A}attention.layer_norm_rms_epsilon`, "f64", 1e300],
  [`${A}attention.scale`, "f32", Number.NaN],
  [`${A}attention.scale`, "f64", 1e300],
  [`${A}attention.scale`, "f32", -1],
  [`${A}rope.freq_base`, "f32", Number.POSITIVE_INFINITY],
  [`${A}rope.freq_base`, "f32", 0.5],
  [`${A}rope.freq_base`, "f32", 0],
  [`${A}rope.freq_base`, "f32", -5],
  [`${A}rope.freq_base`, "f32", Number.NaN],
  [`${A}attention.layer_norm_rms_epsilon`, "f32", -1e-5],
  [`${A}attention.max_alibi_bias`, "f32", 8],
  [`${A}use_parallel_residual`, "bool", true],
  [`${A}pooling_type`, "u32", 4],
  [`${A}pooling_type`, "i32", -2],
  [`${A}rope.scaling.factor`, "f32", Number.NaN],
  [`${A}rope.scaling.factor`, "f32", Number.POSITIVE_INFINITY],
  ["general.architecture", "string", "constructor"],
  ["general.architecture", "string", "__proto__"],
  [`${A}rope.scaling.type`, "string", "constructor"],
  ["tokenizer.ggml.model", "string", "constructor"],
  ["tokenizer.ggml.pre", "string", "constructor"],
] as const)("%s = %s %s is refused", async (key, type, value) => {
  expect(await accepts(withKey(key, type, value), key)).toBe(false);
});

test("YaRN's betas are read, and refused where they make no sense", async () => {
  const { metadata = [], tensors = [] } = model.contents;
  const scaled = (fast: number, slow: number) =>
    writeGguf({
      metadata: [
        ...metadata,
        [`${A}rope.scaling.type`, "string", "yarn"],
        [`${A}rope.scaling.factor`, "f32", 2],
        [`${A}rope.scaling.yarn_beta_fast`, "f32", fast],
        [`${A}rope.scaling.yarn_beta_slow`, "f32", slow],
      ],
      tensors,
    });
  const { config } = await open(scaled(16, 2));
  expect(config.rope.scaling).toEqual({ kind: "yarn", factor: 2, betaFast: 16, betaSlow: 2 });
  expect((await open(scaled(32, 1))).config.rope.scaling).toEqual({ kind: "yarn", factor: 2 });
  await expect(open(scaled(1, 2))).rejects.toThrow(/YaRN betas 1, 2/);
});

test("YaRN's other parameters are what is built in, or refused", async () => {
  for (const [name, neutral, other] of [
    ["attn_factor", 1, 1.5],
    ["yarn_ext_factor", 1, 0.5],
  ] as const) {
    const key = `${A}rope.scaling.${name}`;
    expect(await accepts(withKey(key, "f32", neutral), key)).toBe(true);
    await expect(open(withKey(key, "f32", other))).rejects.toThrow(key);
  }
});

test("damaged models that are accepted run: numbers, or an error that says they are none", async () => {
  const next = uniform(5);
  const sample = Array.from(
    { length: 24 },
    () => surviving[Math.floor(next() * surviving.length)]!,
  );
  const broken = intact.slice();
  // Weights may be anything at all: NaN in every one of them.
  broken.fill(0xff, headerBytes + 64, intact.length - 64);
  const files = [...sample.map(([at, value]) => damaged(at, value)), broken];
  const warnings = vi.fn();
  let ran = 0;
  for (const [i, bytes] of files.entries()) {
    const what = i < sample.length ? `byte ${sample[i]![0]} set to ${sample[i]![1]}` : "NaN";
    try {
      const engine: Engine = await loadEngine(bytes, { context: 16, onWarning: warnings });
      await engine.complete([2, 3, 4], { maxTokens: 2, temperature: 0, ignoreEos: true });
      await engine.close();
      ran++;
    } catch (error) {
      if (!(error instanceof UserError))
        throw new Error(`${what}: ${String(error)}`, { cause: error });
    }
  }
  expect(ran).toBeGreaterThan(12);
  await expect(
    loadEngine(broken).then((engine) => engine.complete([2, 3], { maxTokens: 1 })),
  ).rejects.toThrow(/logit of token 0 is NaN/);
});

describe("divisors of rotary frequencies", () => {
  const { metadata = [], tensors = [] } = tinyModel({ layers: 1 }).contents;
  const pairs = model.shape.headWidth / 2;
  const withDivisors = (type: string | undefined, ...names: string[]) =>
    writeGguf({
      metadata: type ? [...metadata, [`${A}rope.scaling.type`, "string", type]] : metadata,
      tensors: [
        ...tensors,
        ...names.map((name) => ({
          name: `${name}.weight`,
          shape: [pairs],
          type: "F32" as const,
          data: new Uint8Array(new Float32Array(pairs).fill(2).buffer),
        })),
      ],
    });
  const LONGROPE = ["rope_factors_short", "rope_factors_long"];

  test("are used, or the file is refused", async () => {
    await open(withDivisors(undefined, "rope_freqs"));
    await open(withDivisors("longrope", ...LONGROPE));
    for (const type of [undefined, "none", "linear", "yarn"]) {
      for (const name of LONGROPE)
        await expect(open(withDivisors(type, name)), `${type} ${name}`).rejects.toThrow(
          /tensor rope_factors_(short|long).weight .*goes with llama.rope.scaling.type longrope only/,
        );
    }
    await expect(open(withDivisors("longrope", ...LONGROPE, "rope_freqs"))).rejects.toThrow(
      /tensor rope_freqs.weight .*does not go with/,
    );
  });
});

test.each([
  ...[0, -5, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 1e31].map((ropeFreqBase) => ({
    ropeFreqBase,
  })),
  ...[0, -1, 2, 1e-300, Number.NaN].map((ropeFreqScale) => ({ ropeFreqScale })),
  ...[0.5, 1e7, Number.NaN].map((factor) => ({ rope: { kind: "linear", factor } as const })),
])("%o is refused, and the value quoted", async (options) => {
  const [value] = Object.values(options);
  const quoted = typeof value === "object" ? `factor: ${value.factor}` : String(value);
  await expect(loadEngine(model.bytes, options)).rejects.toThrow(quoted);
  await expect(loadEngine(model.bytes, options)).rejects.toThrow(UserError);
});
