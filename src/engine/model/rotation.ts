// Reads how positions rotate queries and keys. Divisors of the frequencies are tensors: see
// rope-divisors.ts.

import {
  BASES,
  MAX_FACTOR,
  type QueryTemperature,
  type RopeScaling,
} from "../../context/positions/rope-scaling.ts";
import type { Architecture } from "./architectures.ts";
import type { ModelMetadata } from "./model-metadata.ts";

/** How positions rotate the heads of a layer. */
export interface Rotation {
  /** R: numbers of a head that rotate, its first ones; even, at most E. */
  readonly width: number;
  readonly pairs: Architecture["pairs"];
  readonly base: number;
  readonly scaling: RopeScaling;
  /** The trained length before the file's own scaling. */
  readonly originalContext: number;
  /** The factor by which LongRoPE scales queries and keys. */
  readonly attentionFactor: number;
  /** How queries grow with their position, if they do. */
  readonly temperature: QueryTemperature | undefined;
}

/** Reads the rotation that a file describes; a user may ask for another scaling or base of it. */
export function readRotation(
  metadata: ModelMetadata,
  { pairs }: Architecture,
  headWidth: number,
  trainedContext: number,
): Rotation {
  const width = metadata.count("rope.dimension_count", headWidth);
  if (width > headWidth || width % 2 !== 0) {
    metadata.refuse(`rotating ${width} of the ${headWidth} numbers of a head is not supported.`);
  }
  const stretch = "rope.scaling.attn_factor";
  const attentionFactor = metadata.between(stretch, metadata.number(stretch, 1), 0.01, 100);
  const scaling = readScaling(metadata, attentionFactor);
  if (attentionFactor !== 1 && scaling.kind !== "longrope" && scaling.kind !== "yarn") {
    metadata.refuse(`${metadata.key(stretch)} goes with longrope or yarn only.`);
  }
  const base = metadata.number("rope.freq_base", 10000);
  const originalContext = metadata.count("rope.scaling.original_context_length", trainedContext);
  return {
    width,
    pairs,
    base: metadata.between("rope.freq_base", base, ...BASES),
    scaling,
    originalContext,
    attentionFactor,
    temperature: readTemperature(metadata, width === headWidth, originalContext),
  };
}

/** The rotation of layers with a window of their own, if it differs from that of the others. */
export function slidingRotation(metadata: ModelMetadata, rotation: Rotation): Rotation {
  const name = "rope.freq_base_swa";
  const base = metadata.between(name, metadata.number(name, rotation.base), ...BASES);
  return { ...rotation, base, scaling: { kind: "none" } };
}

function readTemperature(
  metadata: ModelMetadata,
  isWhole: boolean,
  length: number,
): QueryTemperature | undefined {
  const scale = metadata.nonzero("attention.temperature_scale", 1e-6, 1e3);
  if (scale === undefined) return undefined;
  if (!isWhole)
    metadata.refuse("a temperature of queries whose heads rotate in part is not supported.");
  return { scale, length };
}

function readScaling(metadata: ModelMetadata, stretch: number): RopeScaling {
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
      return readYarn(metadata, factor, stretch);
    default:
      return metadata.refuse(
        `unsupported RoPE scaling "${kind}"; supported are none, linear, yarn, longrope.`,
      );
  }
}

function readYarn(metadata: ModelMetadata, factor: number, stretch: number): RopeScaling {
  const original = metadata.integer("rope.scaling.original_context_length", 0);
  const betaFast = metadata.number("rope.scaling.yarn_beta_fast", 32);
  const betaSlow = metadata.number("rope.scaling.yarn_beta_slow", 1);
  if (!(Number.isFinite(betaFast) && betaFast > betaSlow && betaSlow > 0)) {
    metadata.refuse(`YaRN betas ${betaFast}, ${betaSlow} are not supported.`);
  }
  const betas = betaFast === 32 && betaSlow === 1 ? {} : { betaFast, betaSlow };
  return {
    kind: "yarn",
    factor,
    ...(original > 0 ? { original } : {}),
    ...betas,
    ...yarnStretch(metadata, factor, stretch),
  };
}

/** What YaRN multiplies queries and keys by, if it is not what the paper says: 1 + 0.1 ln(factor). */
function yarnStretch(metadata: ModelMetadata, factor: number, stretch: number) {
  const name = "rope.scaling.yarn_log_multiplier";
  const multiplier = metadata.nonzero(name, 1e-6, 1e3) ?? 0;
  if (multiplier === 0 && stretch === 1) return {};
  const long = (m: number) => 1 + 0.1 * m * Math.log(factor);
  return { attentionFactor: (stretch * long(1)) / long(multiplier) };
}
