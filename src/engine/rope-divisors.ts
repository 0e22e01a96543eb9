// Divisors of rotary frequencies that some files bring along, for Llama 3 and for LongRoPE.

import type { RopeDivisors } from "../context/rope-scaling.ts";
import type { ModelConfig } from "./config.ts";
import { GgufError, type GgufFile } from "./gguf/gguf.ts";
import { readValues } from "./tensor-values.ts";

/** Divisors of the rotary frequencies: Llama 3.1's, and LongRoPE's two. */
export const ROPE_TENSORS = [
  "rope_freqs.weight",
  "rope_factors_short.weight",
  "rope_factors_long.weight",
] as const;

/** Divisors of the rotary frequencies, [E/2] each, where the file has them. */
export async function readRopeDivisors(file: GgufFile, config: ModelConfig): Promise<RopeDivisors> {
  const [always, short, long] = await Promise.all(
    ROPE_TENSORS.map((name) => readDivisors(file, name)),
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
