// Reads how positions rotate queries and keys. Divisors of the frequencies are tensors: see
// rope-divisors.ts.

import { BASES, MAX_FACTOR, type RopeScaling } from "../../context/positions/rope-scaling.ts";
import type { Architecture } from "./architectures.ts";
import type { ModelMetadata } from "./model-metadata.ts";

/** How positions rotate the heads of a layer, unless the user asks for another scaling or base. */
export interface Rotation {
  /** R: numbers of a head that rotate; all E of them. */
  readonly width: number;
  readonly pairs: Architecture["pairs"];
  readonly base: number;
  readonly scaling: RopeScaling;
  /** The trained length before the file's own scaling. */
  readonly originalContext: number;
  /** The factor by which LongRoPE scales queries and keys. */
  readonly attentionFactor: number;
}

/** Reads the rotation that all layers of a file share. */
export function readRotation(
  metadata: ModelMetadata,
  { pairs }: Architecture,
  headWidth: number,
  trainedContext: number,
): Rotation {
  const width = metadata.count("rope.dimension_count", headWidth);
  if (width !== headWidth) {
    metadata.refuse(`rotating ${width} of the ${headWidth} numbers of a head is not supported.`);
  }
  const scaling = readScaling(metadata);
  const stretch = "rope.scaling.attn_factor";
  const attentionFactor = metadata.between(stretch, metadata.number(stretch, 1), 0.01, 100);
  if (attentionFactor !== 1 && scaling.kind !== "longrope") {
    metadata.refuse(`${metadata.key(stretch)} goes with longrope only.`);
  }
  const base = metadata.number("rope.freq_base", 10000);
  return {
    width,
    pairs,
    base: metadata.between("rope.freq_base", base, ...BASES),
    scaling,
    originalContext: metadata.count("rope.scaling.original_context_length", trainedContext),
    attentionFactor,
  };
}

function readScaling(metadata: ModelMetadata): RopeScaling {
  const kind = metadata.string("rope.scaling.type", "linear");
  // 0 means absent; NaN must not.
  const given = ["rope.scaling.factor", "rope.scale_linear"].map((name) =>
    metadata.number(name, 0),
  );
  const factor = given.find((value) => value !== 0) ?? 1;
  if (!(factor >= 1 && factor <= MAX_FACTOR)) {
    metadata.refuse(`a RoPE scaling factor of ${factor} is not supported.`);
  }
  switch (kind) {
    case "none":
    case "longrope":
      return { kind };
    case "linear":
      return factor === 1 ? { kind: "none" } : { kind, factor };
    case "yarn":
      return readYarn(metadata, factor);
    default:
      return metadata.refuse(
        `unsupported RoPE scaling "${kind}"; supported are none, linear, yarn, longrope.`,
      );
  }
}

function readYarn(metadata: ModelMetadata, factor: number): RopeScaling {
  const original = metadata.integer("rope.scaling.original_context_length", 0);
  const betaFast = metadata.number("rope.scaling.yarn_beta_fast", 32);
  const betaSlow = metadata.number("rope.scaling.yarn_beta_slow", 1);
  if (!(Number.isFinite(betaFast) && betaFast > betaSlow && betaSlow > 0)) {
    metadata.refuse(`YaRN betas ${betaFast}, ${betaSlow} are not supported.`);
  }
  const betas = betaFast === 32 && betaSlow === 1 ? {} : { betaFast, betaSlow };
  return { kind: "yarn", factor, ...(original > 0 ? { original } : {}), ...betas };
}
