// A NaN or infinite result is an error in every task: text sampled from NaN would look like any
// other.

import { UserError } from "../../errors.ts";
import { KV_FORMATS, type KvType } from "../../kernels/attention/kv-types.ts";

/** A model has computed NaN or an infinity as a result. */
export class NotFiniteError extends UserError {
  override readonly name = "NotFiniteError";

  /**
   * `what` names the result and its value, such as "The logit of token 3 is NaN". `kvType` is that
   * of the cache.
   */
  constructor(what: string, kvType: KvType) {
    const { largest } = KV_FORMATS[kvType];
    const overflow =
      kvType === "f32"
        ? ""
        : `, or its keys or values exceed ${largest}, the most that ${kvType} pages hold: try --kv f32 (kv: "f32")`;
    super(`${what}: a weight of the model is broken${overflow}.`);
  }
}

/**
 * The index of the first number that is NaN, Infinity or less than `least`; -1 if there is none.
 */
export function firstNotFinite(numbers: Float32Array, least = -Number.MAX_VALUE): number {
  for (let i = 0; i < numbers.length; i++) {
    const x = numbers[i]!;
    if (!(x >= least && x < Number.POSITIVE_INFINITY)) return i; // false for NaN
  }
  return -1;
}
