// What llama.cpp loads as it stands: dimensions of 1 behind the others, and keys whose value changes nothing.

import { expect, test } from "vitest";
import { type GgufFile, openGguf } from "../../src/engine/gguf/gguf.ts";
import type { MetadataValue } from "../../src/engine/gguf/metadata.ts";
import { readConfig } from "../../src/engine/model/config.ts";
import { UnsupportedError } from "../../src/engine/model/model-metadata.ts";
import { checkTensors } from "../../src/engine/model/weights.ts";
import { openFile } from "../../src/platform/file.ts";
import { fixtureModel } from "../support/models.ts";

async function using(use: (file: GgufFile) => void): Promise<void> {
  const file = await openGguf(fixtureModel("stories260K-F32.gguf"), openFile);
  try {
    use(file);
  } finally {
    await file.close();
  }
}

test.each([
  ["four dimensions", (shape: readonly number[]) => [...shape, 1, 1, 1].slice(0, 4), true],
  ["one more", (shape: readonly number[]) => [...shape, 1], true],
  ["a 1 in front", (shape: readonly number[]) => [1, ...shape], false],
  ["a 2 behind", (shape: readonly number[]) => [...shape, 2], false],
] as const)("tensors of %s", (_, reshape, isAccepted) =>
  using((file) => {
    const tensors = new Map(
      [...file.tensors].map(([name, tensor]) => [
        name,
        { ...tensor, shape: reshape(tensor.shape) },
      ]),
    );
    const check = () => checkTensors({ ...file, tensors }, readConfig(file));
    if (isAccepted) expect(check).not.toThrow();
    else expect(check).toThrow(/of shape/);
  }),
);

test.each<[string, MetadataValue, boolean]>([
  ["logit_scale", 1, true],
  ["logit_scale", 0, true],
  ["logit_scale", 0.5, false],
  ["residual_scale", 1, true],
  ["embedding_scale", 1, true],
  ["embedding_scale", 12, false],
  ["attn_logit_softcapping", 50, false],
  ["final_logit_softcapping", 30, false],
  ["rope.scaling.alpha", 1, true],
  ["rope.scaling.yarn_ext_factor", -1, true],
  ["rope.scaling.yarn_ext_factor", 0.5, false],
  ["attention.clamp_kqv", 1, false],
])("%s of %s", (key, value, isAccepted) =>
  using((file) => {
    const read = () =>
      readConfig({ ...file, metadata: new Map(file.metadata).set(`llama.${key}`, value) });
    if (isAccepted) expect(read).not.toThrow();
    else expect(read).toThrow(UnsupportedError);
  }),
);
