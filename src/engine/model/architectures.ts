// The architectures that can be run. A row has what a family of models fixes but its files do not
// say. No other file of the engine names an architecture.

import type { ActivationFunction } from "../../kernels/reference.ts";
import { UnsupportedError } from "./model-metadata.ts";

export interface Architecture {
  /** Numbers of a head that rotate together: neighbours (2i, 2i + 1) or halves (i, i + R/2). */
  readonly pairs: "neighbours" | "halves";
  /** RMSNorm over each head of queries and keys, before the rotation. */
  readonly headNorms: boolean;
  readonly activation: ActivationFunction;
  /**
   * Which layers use the window if a file has one but no pattern: all but every n-th layer; 0: all.
   */
  readonly slidingPeriod: number;
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  // Llama 1 to 3.2, TinyLlama, SmolLM, Mistral: the converter permuted Q and K to neighbours.
  llama: { pairs: "neighbours", headNorms: false, activation: "silu", slidingPeriod: 0 },
  qwen2: { pairs: "halves", headNorms: false, activation: "silu", slidingPeriod: 0 },
  qwen3: { pairs: "halves", headNorms: true, activation: "silu", slidingPeriod: 0 },
};

/** The row of an architecture. Throws an `UnsupportedError` if there is none. */
export function architectureOf(file: string, name: string): Architecture {
  const row = Object.hasOwn(ARCHITECTURES, name) && ARCHITECTURES[name];
  if (row) return row;
  const supported = Object.keys(ARCHITECTURES).join(", ");
  throw new UnsupportedError(
    `${file}: unsupported architecture "${name}"; supported are ${supported}.`,
  );
}
