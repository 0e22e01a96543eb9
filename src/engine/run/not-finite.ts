// A result that is no number is an error, in every task: a text out of NaN would read as any other.

import { UserError } from "../../errors.ts";
import { KV_FORMATS, type KvType } from "../../kernels/attention/kv-types.ts";

/** A model has computed NaN or an infinity where a result was asked for. */
export class NotFiniteError extends UserError {
  override readonly name = "NotFiniteError";

  /** `what` says which result is what, such as "The logit of token 3 is NaN". `kvType` is that of the cache. */
  constructor(what: string, kvType: KvType) {
    const { largest } = KV_FORMATS[kvType];
    const overflow =
      kvType === "f32"
        ? ""
        : `, or its keys or values exceed ${largest}, the most that ${kvType} pages hold: try --kv f32 (kv: "f32")`;
    super(`${what}: a weight of the model is broken${overflow}.`);
  }
}

/** The place of the first of some numbers that is NaN, Infinity or less than `least`; -1 if there is none. */
export function firstNotFinite(numbers: Float32Array, least = -Number.MAX_VALUE): number {
  for (let i = 0; i < numbers.length; i++) {
    const x = numbers[i]!;
    if (!(x >= least && x < Number.POSITIVE_INFINITY)) return i; // of NaN, every comparison is false
  }
  return -1;
}
