// Files of every family that cannot be run, and families that cannot: each is refused in a line that names what is wrong.

import { describe, expect, test } from "vitest";
import { type GgufFile, openGguf } from "../../src/engine/gguf/gguf.ts";
import type { MetadataValue } from "../../src/engine/gguf/metadata.ts";
import { readConfig } from "../../src/engine/model/config.ts";
import { UnsupportedError } from "../../src/engine/model/model-metadata.ts";
import { checkTensors } from "../../src/engine/model/weights.ts";
import { UserError } from "../../src/index.ts";
import { bytesOpener, loadEngine } from "../support/engine.ts";
import { familyModel } from "../support/families/model.ts";
import { FAMILIES, FAMILY_NAMES, type FamilyName } from "../support/families/recipes.ts";

const headers = new Map<FamilyName, GgufFile>();

async function headerOf(name: FamilyName): Promise<GgufFile> {
  if (headers.has(name)) return headers.get(name)!;
  const file = await openGguf(name, bytesOpener({ [name]: familyModel(FAMILIES[name]) }));
  await file.close();
  headers.set(name, file);
  return file;
}

/** What opening the file says; undefined if it can be run. */
function refusal(file: GgufFile): string | undefined {
  try {
    checkTensors(file, readConfig(file));
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    const { message } = error as UserError;
    expect(message).not.toMatch(/\n|undefined|NaN|\[object/);
    return message;
  }
}

const without = (file: GgufFile, name: string): GgufFile => {
  const tensors = new Map(file.tensors);
  tensors.delete(name);
  return { ...file, tensors };
};

/** The file with one more row in a tensor. */
const withRow = (file: GgufFile, name: string): GgufFile => {
  const tensor = file.tensors.get(name)!;
  const shape = [...tensor.shape.slice(0, -1), tensor.shape.at(-1)! + 1];
  return { ...file, tensors: new Map(file.tensors).set(name, { ...tensor, shape }) };
};

const withKey = (file: GgufFile, key: string, value: MetadataValue): GgufFile => ({
  ...file,
  metadata: new Map(file.metadata).set(key, value),
});

/** Tensors that a file may lack, as others of the family do. */
const OPTIONAL = /\.bias$|^output\.weight$|^rope_factors_short\.weight$/;

/**
 * Tensors by whose presence or rows a form of the family is known. Without them a file is one of the other form, and what
 * is wrong is another tensor or key of it.
 */
const TELLING: Readonly<Record<string, string>> = {
  "blk.0.attn_qkv.weight": "blk.0.attn_q.weight",
  "blk.0.ffn_up.weight": "blk.0.ffn_gate.weight",
  "blk.0.attn_q_norm.weight": "blk.0.attn_k_norm.weight",
  "blk.0.ffn_norm.weight": "blk.0.ffn_norm.bias",
  "rope_factors_long.weight": "rope.scaling.attn_factor",
};

const expectNamed = (message: string | undefined, tensor: string) =>
  expect(
    [tensor, TELLING[tensor]].some((name) => name && message?.includes(name)),
    message,
  ).toBe(true);

/** Tensors of the first layer, and of none. */
const tensorsOf = (file: GgufFile) =>
  [...file.tensors.keys()].filter((name) => !/^blk\.[1-9]/.test(name));

describe.each(FAMILY_NAMES)("a %s file", (name) => {
  test("is accepted as it is", async () => {
    expect(refusal(await headerOf(name))).toBeUndefined();
  });

  test("is refused by name without a tensor, or if that has one row more", async () => {
    const file = await headerOf(name);
    for (const tensor of tensorsOf(file)) {
      if (!OPTIONAL.test(tensor)) expectNamed(refusal(without(file, tensor)), tensor);
      expectNamed(refusal(withRow(file, tensor)), tensor);
    }
  });

  test("is refused by name with a tensor that the family does not have", async () => {
    const file = await headerOf(name);
    const other = "blk.1.attn_sinks.weight";
    const tensors = new Map(file.tensors).set(other, file.tensors.get("output_norm.weight")!);
    const { architecture } = FAMILIES[name];
    expect(refusal({ ...file, tensors })).toContain(
      `tensor ${other} is none that a ${architecture} model uses here`,
    );
  });
});

describe("keys that a family does not have are refused by name", () => {
  test.each<[FamilyName, string, MetadataValue]>([
    ["llama", "embedding_scale", 3],
    ["llama", "attn_logit_softcapping", 50],
    ["llama", "attention.temperature_scale", 0.1],
    ["qwen3", "final_logit_softcapping", 30],
    ["gemma", "attn_logit_softcapping", 50],
    ["phi3", "rope.scaling.yarn_log_multiplier", 0.1],
    ["olmo2", "logit_scale", 2],
    ["glm4", "residual_scale", 0.5],
    ["cohere2", "rope.freq_base_swa", 5000],
    ["starcoder2", "attention.clamp_kqv", 8],
    ["hunyuan-dense", "attention.causal", false],
  ])("%s: %s", async (name, key, value) => {
    const file = await headerOf(name);
    const whole = `${FAMILIES[name].architecture}.${key}`;
    const expected = key === "attention.causal" ? "causal" : whole;
    expect(refusal(withKey(file, whole, value))).toContain(expected);
  });
});

describe("families that cannot be run are refused by name, with what they need and a model that runs", () => {
  test.each<[architecture: string, message: RegExp]>([
    ["gemma4", /"gemma4" \(Gemma 4\) cannot be run: it needs layers of different head widths/],
    ["gemma3n", /"gemma3n" \(Gemma 3n\).* several residual streams/],
    ["qwen35", /"qwen35" \(Qwen 3\.5 and 3\.6\).* recurrent layers/],
    ["qwen35moe", /"qwen35moe" \(Qwen 3\.5 and 3\.6\).* recurrent layers/],
    ["qwen3next", /\(Qwen3-Next\).* recurrent layers .* and experts/],
    ["lfm2", /\(LFM2\).* short convolutions/],
    ["lfm2moe", /\(LFM2\).* short convolutions/],
    ["gpt-oss", /\(gpt-oss\).* experts and learned attention sinks/],
    ["llama4", /\(Llama 4\).* experts and chunked attention/],
    ["deepseek2", /\(DeepSeek\).* multi-head latent attention and experts/],
    ["minicpm3", /\(MiniCPM 3\).* multi-head latent attention/],
    ["mamba", /\(Mamba\).* state-space layers/],
    ["mamba2", /\(Mamba\).* state-space layers/],
    ["falcon-h1", /\(Falcon-H1\).* state-space layers/],
    ["jamba", /\(Jamba\).* state-space layers/],
    ["granitehybrid", /\(Granite 4 H\).* state-space layers/],
    ["nemotron_h", /\(Nemotron-H\).* state-space layers/],
    ["rwkv7", /\(RWKV\).* layers without attention/],
    ["t5", /\(T5\).* a decoder that reads an encoder/],
    ["clip", /\(mmproj, the vision half of a model\).* images; the language half is another file/],
    ["chatglm", /\(GLM-4 as converted before 2025\).* its layout of tensors/],
    ["qwen3moe", /"qwen3moe" cannot be run: it needs experts/],
    ["olmoe", /"olmoe" cannot be run: it needs experts/],
    ["granitemoe", /"granitemoe" cannot be run: it needs experts/],
    ["ernie4_5-moe", /"ernie4_5-moe" cannot be run: it needs experts/],
    ["bloom", /unsupported architecture "bloom"; supported are llama, .*nemotron/],
  ])("%s", async (architecture, message) => {
    const file = withKey(await headerOf("llama"), "general.architecture", architecture);
    expect(() => readConfig(file)).toThrow(UnsupportedError);
    expect(refusal(file)).toMatch(message);
    expect(refusal(file)).toMatch(/Qwen3-0\.6B, .* run\.$/);
  });

  test.each(["llama", "mistral3", "granite"] as const)("%s with experts", async (name) => {
    const file = withKey(await headerOf(name), `${FAMILIES[name].architecture}.expert_count`, 8);
    expect(refusal(file)).toMatch(/with 8 experts \(as Mixtral\) cannot be run\. Qwen3-0\.6B/);
  });
});

test.each(["cohere2", "exaone4-64", "granite-unrotated"] as const)(
  "%s, whose layers that see all do not rotate, has nothing that a RoPE scaling could change",
  async (name) => {
    const bytes = familyModel(FAMILIES[name]);
    for (const [option, value] of [
      ["rope", "linear:2"],
      ["rope", "auto"],
      ["ropeFreqBase", 5000],
      ["ropeFreqScale", 0.5],
    ] as const) {
      const load = loadEngine(bytes, { [option]: value });
      await expect(load).rejects.toThrow(
        new RegExp(
          `^Invalid ${option} "${value}": the layers .* have no rotary positions to scale; leave it out\\.$`,
        ),
      );
    }
  },
);
