// Each switch of a family, set wrong in the configuration that the engine runs: the logits are no longer llama.cpp's. So
// the families' models show every switch, and what families.test.ts finds right is not right by chance.

import { describe, expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import type { ModelConfig } from "../../src/engine/model/config.ts";
import { openModel } from "../../src/engine/model/open.ts";
import type { Rotation } from "../../src/engine/model/rotation.ts";
import type { LayerTraits } from "../../src/engine/model/traits.ts";
import { bytesOpener, sharingPlatform } from "../support/engine.ts";
import { familyLogits, logitsOf, TOKENS } from "../support/families/golden.ts";
import { familyModel } from "../support/families/model.ts";
import { FAMILIES, type FamilyName } from "../support/families/recipes.ts";
import { nmse } from "../support/oracle.ts";

type Change = (config: ModelConfig) => ModelConfig;

/** GELU differs from llama.cpp's by less than a tenth of this, all else by less than 1e-10. */
const SEEN = 1e-6;

/** A change of all layers, or of those that `change` returns something for. */
const layers =
  (change: (traits: LayerTraits, i: number, all: readonly LayerTraits[]) => object): Change =>
  (config) => ({
    ...config,
    traits: config.traits.map((traits, i, all) => ({ ...traits, ...change(traits, i, all) })),
  });

/** A change of the rotations: layers that share one still do. */
const rotations =
  (change: (rotation: Rotation, file: Rotation) => Partial<Rotation>): Change =>
  (config) => {
    const made = new Map<Rotation, Rotation>();
    const changed = (rotation: Rotation) => {
      const other = made.get(rotation) ?? { ...rotation, ...change(rotation, config.rope) };
      made.set(rotation, other);
      return other;
    };
    const rope = changed(config.rope);
    const traits = config.traits.map((layer) => ({
      ...layer,
      rotation: layer.rotation && changed(layer.rotation),
    }));
    return { ...config, rope, traits };
  };

const pairs = rotations(({ pairs }) => ({ pairs: pairs === "halves" ? "neighbours" : "halves" }));
const narrower = rotations(({ width }) => ({ width: width - 4 }));
const everywhere: Change = (config) => layers(() => ({ rotation: config.rope }))(config);
const windowBy = (more: number) => layers(({ window }) => ({ window: window + more }));
const activation = (other: LayerTraits["activation"]) => layers(() => ({ activation: other }));
const times = (key: "embeddingScale" | "residualScale" | "logitScale"): Change => {
  return (config) => ({ ...config, [key]: config[key] * 1.1 });
};
const epsilon: Change = (config) => ({ ...config, normEpsilon: config.normEpsilon * 100 });
const normKind: Change = (config) => ({
  ...config,
  norm: config.norm === "rms" ? "layer" : "rms",
});
const scoreScale = layers(({ scoreScale }) => ({ scoreScale: scoreScale * 1.05 }));
/** The windows of the layers behind: with a period, another layer sees all. */
const shifted = layers((_, i, all) => {
  const { window, rotation } = all[(i + 1) % all.length]!;
  return { window, rotation };
});
const noHeadNorms = layers(() => ({ headNorms: undefined, normsRotated: false }));
const normsOtherSide = layers(({ normsRotated }) => ({ normsRotated: !normsRotated }));
const yarn = (change: object) =>
  rotations(({ scaling }) =>
    scaling.kind === "yarn" ? { scaling: { ...scaling, ...change } } : {},
  );

const SWITCHES: Readonly<Partial<Record<FamilyName, Readonly<Record<string, Change>>>>> = {
  llama: { pairs, "norm epsilon": epsilon, "rotated width": narrower, "score scale": scoreScale },
  qwen3: { "no norms of heads": noHeadNorms, "norms after the rotation": normsOtherSide },
  mistral3: {
    "no temperature": rotations(() => ({ temperature: undefined })),
    "temperature by half the length": rotations(({ temperature }) => ({
      temperature: temperature && { ...temperature, length: temperature.length / 2 },
    })),
    "YaRN's own stretch": yarn({ attentionFactor: undefined }),
    "no YaRN": rotations(() => ({ scaling: { kind: "none" } })),
  },
  granite: {
    "embedding scale": times("embeddingScale"),
    "residual scale": times("residualScale"),
    "logit scale": times("logitScale"),
    "score scale": scoreScale,
  },
  "granite-unrotated": { "rotated layers": everywhere },
  minicpm: {
    "embedding scale": times("embeddingScale"),
    "residual scale": times("residualScale"),
    "logit scale": times("logitScale"),
  },
  smollm3: {
    "rotated layers": everywhere,
    "unrotated layers": layers((_, i, all) => ({ rotation: all[(i + 1) % all.length]!.rotation })),
  },
  gemma: { activation: activation("silu"), "embedding scale": times("embeddingScale") },
  gemma2: {
    "no cap of scores": layers(() => ({ scoreCap: undefined })),
    "no cap of logits": (config) => ({ ...config, logitCap: undefined }),
    "another cap of scores": layers(() => ({ scoreCap: 6 })),
    "norms before only": layers(() => ({ branchNorms: "before" })),
    "window + 1": windowBy(1),
    "window - 1": windowBy(-1),
    "no window": layers(() => ({ window: Number.POSITIVE_INFINITY })),
    "which layers slide": shifted,
  },
  gemma3: {
    pairs,
    "base of sliding layers": everywhere,
    "scaling of full layers": rotations(() => ({ scaling: { kind: "none" } })),
    "scaling of sliding layers": rotations((_, { scaling }) => ({ scaling })),
    "window + 1": windowBy(1),
    "window - 1": windowBy(-1),
    "which layers slide": shifted,
    "no norms of heads": noHeadNorms,
  },
  phi3: {
    "rotated width": narrower,
    stretch: rotations(() => ({ attentionFactor: 1 })),
    "original context": rotations(() => ({ originalContext: 512 })),
  },
  phi2: { "not parallel": layers(() => ({ parallel: false })), "rotated width": narrower },
  olmo2: {
    "no norms of rows": noHeadNorms,
    "norm epsilon": epsilon,
  },
  olmo3: {
    "YaRN in sliding layers": everywhere,
    "window + 1": windowBy(1),
    "which layers slide": shifted,
    "YaRN's stretch": yarn({ attentionFactor: 1 }),
  },
  "exaone4-64": { "rotated layers": everywhere, "window + 1": windowBy(1) },
  "hunyuan-dense": { "norms before the rotation": normsOtherSide },
  glm4: { "norms before only": layers(() => ({ branchNorms: "before" })), pairs },
  "command-r": { "norm kind": normKind, "logit scale": times("logitScale") },
  "command-r-64": { "no norms of heads": noHeadNorms },
  cohere2: {
    "rotated layers": everywhere,
    "window + 1": windowBy(1),
    "which layers slide": shifted,
    "norm epsilon": epsilon,
  },
  starcoder2: { activation: activation("relu2"), "norm kind": normKind },
  stablelm: { "feed-forward beside attention": layers(() => ({ parallel: true })) },
  arcee: { activation: activation("silu") },
};

async function errorOf(name: FamilyName, change: Change): Promise<number> {
  const file = await openModel(name, bytesOpener({ [name]: familyModel(FAMILIES[name]) }));
  const config = change(file.config);
  const options = { kv: "f32", chunk: TOKENS.length } as const;
  await using engine = await Engine.open(sharingPlatform, { ...file, config }, options);
  return nmse(await logitsOf(engine, TOKENS), familyLogits(name, "llama.cpp"));
}

describe.each(Object.entries(SWITCHES) as [FamilyName, Record<string, Change>][])(
  "%s",
  (name, switches) => {
    test("as it is", async () => {
      expect(await errorOf(name, (config) => config)).toBeLessThan(SEEN / 10);
    });
    test.each(Object.entries(switches))("%s", async (_, change) => {
      expect(await errorOf(name, change)).toBeGreaterThan(SEEN);
    });
  },
);
