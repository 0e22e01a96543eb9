// The rotation of a model under a user's options.

import { chooseRope, formatRope, withFreqScale } from "../context/positions/rope-choice.ts";
import type { RopeModel, RopeScaling } from "../context/positions/rope-scaling.ts";
import { OptionError } from "../errors.ts";
import type { ModelConfig } from "./model/config.ts";
import type { Rotation } from "./model/rotation.ts";
import { canScaleRope } from "./model/traits.ts";

/** A rotation, and how it is scaled. */
export interface RopeSetting {
  readonly model: RopeModel;
  readonly scaling: RopeScaling;
}

/** The options of loading that are about rotations: see `EngineOptions`. */
interface RopeOptions {
  readonly rope?: RopeScaling | "auto" | undefined;
  readonly ropeFreqBase?: number | undefined;
  readonly ropeFreqScale?: number | undefined;
}

/**
 * The rotation of the layers that see all, as the file and the options say, and why it was chosen if
 * the options ask for a choice.
 */
export function resolveRope(
  { rope, traits, trainedContext }: ModelConfig,
  options: RopeOptions,
  context: number,
): RopeSetting & { readonly reason: string | undefined } {
  if (!canScaleRope(traits, rope)) refuseScaling(options);
  const choice =
    options.rope === "auto" ? chooseRope({ trainedContext, ...rope }, context) : undefined;
  const asked = options.rope === "auto" ? undefined : options.rope;
  const scaling = withFreqScale(choice?.scaling ?? asked ?? rope.scaling, options.ropeFreqScale);
  return {
    model: ropeModelOf(rope, context, options.ropeFreqBase),
    scaling,
    reason: choice?.reason,
  };
}

/** A rotation as it is used with a context, by another base if there is one. */
export function ropeModelOf(
  { width, base, originalContext, temperature }: Rotation,
  context: number,
  otherBase: number = base,
): RopeModel {
  return { width, base: otherBase, originalContext, context, temperature };
}

function refuseScaling(options: RopeOptions): void {
  for (const option of ["rope", "ropeFreqBase", "ropeFreqScale"] as const) {
    const value = options[option];
    if (value === undefined) continue;
    const what = typeof value === "object" ? formatRope(value) : value;
    throw new OptionError(
      option,
      `"${what}": the layers of this model that see the whole text have no rotary positions to scale; leave it out.`,
    );
  }
}
