// The architectures that can be run. A row has what a family of models fixes but its files do not
// say, and the keys that not every family has. No other file of the engine names an architecture.

import type { ActivationFunction } from "../../kernels/reference.ts";
import { UnsupportedError } from "./model-metadata.ts";

export interface Architecture {
  /** Numbers of a head that rotate together: neighbours (2i, 2i + 1) or halves (i, i + R/2). */
  readonly pairs: "neighbours" | "halves";
  /** RMSNorm over each head of queries and keys, before the rotation. */
  readonly headNorms: boolean;
  /** RMSNorm also behind attention and the feed-forward, before they are added to the stream. */
  readonly postNorms: boolean;
  readonly activation: ActivationFunction;
  /**
   * Keys, without the architecture's name, whose values files may leave out: what these are then. A
   * key that is refused as not implemented is one that the family does have if it is here.
   */
  readonly defaults: (
    shape: Readonly<Record<"layers" | "width" | "heads" | "headWidth", number>>,
  ) => Readonly<Record<string, number>>;
}

/** What most families do. */
const COMMON = {
  headNorms: false,
  postNorms: false,
  activation: "silu",
  defaults: () => ({}),
} as const satisfies Partial<Architecture>;

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  // Llama 1 to 3.2, TinyLlama, SmolLM, Mistral: the converter permuted Q and K to neighbours.
  llama: { ...COMMON, pairs: "neighbours" },
  qwen2: { ...COMMON, pairs: "halves" },
  qwen3: { ...COMMON, pairs: "halves", headNorms: true },
  gemma2: {
    ...COMMON,
    pairs: "halves",
    postNorms: true,
    activation: "gelu",
    defaults: ({ layers, width, heads, headWidth }) => ({
      embedding_scale: Math.sqrt(width),
      // Files do not say it: that of 27 B, which has 46 layers, scales by D/H.
      "attention.scale": 1 / Math.sqrt(layers === 46 ? width / heads : headWidth),
      "attention.sliding_window": 4096,
      "attention.sliding_window_pattern": 2,
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
    }),
  },
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
