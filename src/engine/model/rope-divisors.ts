// Divisors of rotary frequencies that some files have, for Llama 3 and for LongRoPE.

import type { RopeDivisors } from "../../context/positions/rope-scaling.ts";
import { GgufError, type GgufFile } from "../gguf/gguf.ts";
import type { ModelConfig } from "./config.ts";
import { readValues } from "./tensor-values.ts";

const ALWAYS = "rope_freqs.weight"; // Llama 3.1
const SHORT = "rope_factors_short.weight"; // LongRoPE
const LONG = "rope_factors_long.weight";

/** Names of the tensors of divisors that the scaling of a file uses: others are refused. */
export function ropeTensors({ rope: { scaling } }: ModelConfig): readonly string[] {
  return scaling.kind === "longrope" ? [SHORT, LONG] : [ALWAYS];
}

/** Why a tensor of divisors does not fit the scaling; undefined if the tensor holds no divisors. */
export function whyNoDivisors(name: string, architecture: string): string | undefined {
  const type = `${architecture}.rope.scaling.type`;
  if (name === ALWAYS) return `it does not go with ${type} longrope`;
  return name === SHORT || name === LONG ? `it goes with ${type} longrope only` : undefined;
}

/** Divisors of the rotary frequencies, [R/2] each, if the file has them. */
export async function readRopeDivisors(file: GgufFile, config: ModelConfig): Promise<RopeDivisors> {
  const [always, short, long] = await Promise.all(
    [ALWAYS, SHORT, LONG].map((name) => readDivisors(file, name)),
  );
  return { always, short, long, attentionFactor: config.rope.attentionFactor };
}

async function readDivisors(file: GgufFile, name: string): Promise<Float32Array | undefined> {
  const tensor = file.tensors.get(name);
  if (!tensor) return undefined;
  const divisors = await readValues(file, tensor);
  const bad = divisors.findIndex((value) => !(value > 0 && Number.isFinite(value)));
  if (bad >= 0) {
    throw new GgufError({
      file: file.name,
      expected: `${tensor.name} to hold finite positive divisors`,
      found: `${divisors[bad]} at ${bad}`,
    });
  }
  return divisors;
}
