// Records what llama.cpp and a plain f64 pass compute for the models of recipes.ts. It needs the oracle that
// test/fixtures/README.md describes:   npx tsx test/support/families/record.ts ORACLE [FAMILY ...]

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { nmse } from "../oracle.ts";
import { ENCODER_NAMES, encoderRecipe } from "./encoders.ts";
import { fixtureName, TOKENS } from "./golden.ts";
import { familyModel } from "./model.ts";
import { FAMILIES, FAMILY_NAMES } from "./recipes.ts";

/** What is used of `llama-ffi.mjs`: raw f32 logits of every position by llama.cpp's own library. */
interface Llama {
  openModel(path: string): { close(): void };
  evaluate(
    model: object,
    tokens: readonly number[],
    options: { nCtx: number; embeddings?: boolean },
  ): Float32Array[];
}
/** What is used of `forward.mjs`: the pass in f64. */
interface Plain {
  load(path: string): object;
  forward(file: object, tokens: readonly number[], options: { context: number }): Float64Array[];
}

const CONTEXT = 512;
const [oracle = "", ...only] = process.argv.slice(2);
const from = (name: string): Promise<unknown> => import(`${pathToFileURL(resolve(oracle, name))}`);
const llama = (await from("llama-ffi.mjs")) as Llama;
const plain = (await from("forward.mjs")) as Plain;
const folder = fileURLToPath(new URL("../../fixtures/golden/families/", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "families-"));

const rowsOf = (rows: readonly ArrayLike<number>[]) =>
  Float32Array.from(rows.flatMap((row) => Array.from(row)));

function byLlama(path: string, embeddings = false): Float32Array {
  const model = llama.openModel(path);
  try {
    return rowsOf(llama.evaluate(model, TOKENS, { nCtx: CONTEXT, embeddings }));
  } finally {
    model.close();
  }
}

const save = (name: string, logits: Float32Array) =>
  writeFileSync(join(folder, name), new Uint8Array(logits.buffer));

const isAsked = (name: string) => only.length === 0 || only.includes(name);
for (const name of ENCODER_NAMES.filter(isAsked)) {
  const path = join(scratch, `${name}.gguf`);
  writeFileSync(path, familyModel(encoderRecipe(name)));
  const states = rowsOf(plain.forward(plain.load(path), TOKENS, { context: CONTEXT }));
  save(`${name}.f64.f32`, states);
  const difference = nmse(byLlama(path, true), states).toExponential(1);
  console.log(`${name}: llama.cpp and the f64 pass differ by ${difference}`);
}
for (const name of FAMILY_NAMES.filter(isAsked)) {
  const { gelu, notByLlamaCpp, recorded, ...recipe } = FAMILIES[name];
  const path = join(scratch, `${name}.gguf`);
  writeFileSync(path, familyModel({ ...recipe, ...recorded }));
  const theirs = byLlama(path);
  if (notByLlamaCpp === undefined) save(fixtureName(name, "llama.cpp"), theirs);
  if (!gelu && notByLlamaCpp === undefined) continue;
  const f64 = rowsOf(plain.forward(plain.load(path), TOKENS, { context: CONTEXT }));
  save(fixtureName(name, "f64"), f64);
  const difference = nmse(theirs, f64).toExponential(1);
  console.log(`${name}: llama.cpp and the f64 pass differ by ${difference}`);
}
rmSync(scratch, { recursive: true });
