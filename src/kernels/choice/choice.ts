// Operations on the logits of one token: the choice of the next token, and the list of the
// likeliest for a sampler on the host. Not in this room: how logits are computed (matrix/), and
// what a sampler does with them (engine/sampler).

import type { Target } from "../adapter/target.ts";
import type { Activations } from "../gpu/activations.ts";
import type { Dispatch, Grid } from "../gpu/commands.ts";
import { activationBinding, bufferBinding } from "../gpu/dispatcher.ts";

const ONE_GROUP: Grid = [1, 1, 1];

export interface Choice {
  readonly logits: Activations; // [1, V]
  readonly tokens: GPUBuffer; // [1] the id
  readonly choice: GPUBuffer; // [2] the id, the bits of its log-probability
}

/**
 * choice [2] = id and log-probability (as bits) of a token chosen by the logits [1, V]: the
 * likeliest, or a draw if `step.temperature` is not 0. The id is also written to tokens [1].
 */
export function chooseToken(
  { dispatcher }: Target,
  { logits, tokens, choice }: Choice,
): Dispatch[] {
  return [
    dispatcher.dispatch({
      label: "choose",
      shader: "choice/choose",
      fragments: ["choice/noise"],
      overrides: { V: logits.width },
      bindings: {
        logits: activationBinding(logits),
        tokens: bufferBinding(tokens),
        choice: bufferBinding(choice),
      },
      grid: () => ONE_GROUP,
    }),
  ];
}

export interface Top {
  readonly logits: Activations; // [1, V]
  readonly top: GPUBuffer; // [4 + 2 ROOM]
}

/**
 * top [4 + 2 ROOM]: the `step.keep` largest of the logits [1, V], and ln(sum of exp) of all; see
 * the shader.
 */
export function listTop({ dispatcher }: Target, { logits, top }: Top): Dispatch[] {
  return [
    dispatcher.dispatch({
      label: "top",
      shader: "choice/top",
      overrides: { V: logits.width },
      bindings: { logits: activationBinding(logits), top: bufferBinding(top) },
      grid: () => ONE_GROUP,
    }),
  ];
}
