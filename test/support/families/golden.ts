// What llama.cpp and a plain f64 pass computed for the models of recipes.ts: see test/fixtures/README.md.

import { readFileSync } from "node:fs";
import type { Engine } from "../../../src/engine/engine.ts";
import { TINY_TOKENS } from "../tiny-model.ts";
import type { FamilyName } from "./recipes.ts";

const folder = new URL("../../fixtures/golden/families/", import.meta.url);

/** The text of all cases: longer than every window, and than the original context where one counts. */
export const TOKENS: readonly number[] = Array.from(
  { length: 48 },
  (_, i) => (i * i * 7 + 3 * i) % TINY_TOKENS.length,
);

/** Logits [T, V] of all positions; `f64` are those of the pass in f64. */
export function familyLogits(name: FamilyName, by: "llama.cpp" | "f64"): Float32Array {
  const bytes = readFileSync(new URL(fixtureName(name, by), folder));
  const logits = new Float32Array(new Uint8Array(bytes).buffer);
  if (logits.length !== TOKENS.length * TINY_TOKENS.length)
    throw new Error(`${name}: wrong length`);
  return logits;
}

export const fixtureName = (name: FamilyName, by: "llama.cpp" | "f64") =>
  `${name}${by === "f64" ? ".f64" : ""}.f32`;

/** The engine's logits of all positions, [T, V]. */
export async function logitsOf(engine: Engine, ids: readonly number[]): Promise<Float32Array> {
  const V = engine.config.vocabulary;
  const all = new Float32Array(ids.length * V);
  await engine.score(ids, (position, row) => all.set(row, position * V));
  return all;
}
