// Operations on the logits of rows: the choice of the next token of each, and the likeliest ones for a
// sampler on the host. Not in this room: how logits are computed (matrix/), and what a sampler does
// with them (engine/sampler).

import type { Target } from "../adapter/target.ts";
import type { Activations } from "../gpu/activations.ts";
import type { Dispatch, Grid } from "../gpu/commands.ts";
import { activationBinding, bufferBinding } from "../gpu/dispatcher.ts";
import type { StepValues } from "../gpu/params.ts";

/** The bit that marks a token of a step as the place of a choice: CHOSEN of embed.wgsl. */
export const CHOSEN = 0x80000000;

/** How a token is chosen. */
export interface Draw {
  /** 0: the likeliest. */
  readonly temperature: number;
  /** Below 2^53. */
  readonly seed: number;
}

/** A draw by a row of logits. */
export interface RowDraw extends Draw {
  readonly row: number;
  /** Text position of the token that is chosen. */
  readonly position: number;
}

const DRAW_WORDS = 5;

/** Bytes of what this many choices are drawn by. */
export const drawBytes = (choices: number): number => choices * DRAW_WORDS * 4;

/** Draws as `choose.wgsl` reads them. */
export function packDraws(draws: readonly RowDraw[]): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(draws.length * DRAW_WORDS);
  const floats = new Float32Array(words.buffer);
  for (const [i, { row, temperature, seed, position }] of draws.entries()) {
    words.set([row, 0, seed >>> 0, Math.floor(seed / 2 ** 32), position], i * DRAW_WORDS);
    floats[i * DRAW_WORDS + 1] = temperature;
  }
  return words;
}

export interface Choose {
  readonly logits: Activations; // [R, V]
  readonly draws: GPUBuffer; // of `packDraws`, [choices]
  readonly choices: GPUBuffer; // [choices, 2]
}

/**
 * choices [choices, 2] = id and log-probability (as bits) of a token chosen by each drawn row of the
 * logits [R, V], for a step of as many "tokens" as there are draws.
 */
export function chooseTokens(
  { dispatcher }: Target,
  { logits, draws, choices }: Choose,
): Dispatch[] {
  return [
    dispatcher.dispatch({
      label: "choose",
      shader: "choice/choose",
      fragments: ["choice/noise"],
      overrides: { V: logits.width, STRIDE: logits.stride },
      bindings: {
        logits: activationBinding(logits),
        draws: bufferBinding(draws),
        choices: bufferBinding(choices),
      },
      grid: groupEach,
    }),
  ];
}

export interface Top {
  readonly logits: Activations; // [R, V]
  readonly wanted: GPUBuffer; // [lists, 2] row of the logits, tokens to list
  readonly top: GPUBuffer; // [lists, 4 + 2 ROOM]
}

/**
 * top [lists, 4 + 2 ROOM]: of each wanted row of the logits [R, V] the largest, and the sum of all;
 * see the shader. For a step of as many "tokens" as there are lists.
 */
export function listTop({ dispatcher }: Target, { logits, wanted, top }: Top): Dispatch[] {
  return [
    dispatcher.dispatch({
      label: "top",
      shader: "choice/top",
      overrides: { V: logits.width, STRIDE: logits.stride },
      bindings: {
        logits: activationBinding(logits),
        wanted: bufferBinding(wanted),
        top: bufferBinding(top),
      },
      grid: groupEach,
    }),
  ];
}

/** A workgroup each. */
function groupEach({ tokens }: StepValues): Grid {
  return [tokens, 1, 1];
}
