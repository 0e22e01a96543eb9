// IEEE 754 binary16 on the host: Node 20 has no Float16Array.

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** All 65,536 halves as f32: a table is much faster than arithmetic for millions of them. */
const HALF_VALUES: Float32Array = (() => {
  const table = new Float32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const exponent = (h >> 10) & 31;
    const fraction = h & 1023;
    const magnitude =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction === 0
            ? Infinity
            : NaN
          : (1 + fraction / 1024) * 2 ** (exponent - 15);
    table[h] = h & 0x8000 ? -magnitude : magnitude;
  }
  return table;
})();

/** The value of the half whose 16 bits are `h`. */
export function halfToFloat(h: number): number {
  return HALF_VALUES[h]!;
}

/** The 16 bits of the half nearest to `x`, ties to even; beyond 65504 it is an infinity. */
export function floatToHalf(x: number): number {
  float[0] = x;
  const u = bits[0]!;
  const sign = (u >>> 16) & 0x8000;
  const exponent = ((u >>> 23) & 255) - 127;
  const fraction = u & 0x7fffff;
  if (exponent === 128) return sign | 0x7c00 | (fraction ? 0x200 : 0);
  if (exponent > 15) return sign | 0x7c00;
  if (exponent >= -14) {
    // A carry out of the fraction moves into the exponent by itself, up to infinity.
    return sign | roundShift(((exponent + 15) << 23) | fraction, 13);
  }
  return exponent < -25 ? sign : sign | roundShift(fraction | 0x800000, -exponent - 1);
}

/** u >> shift, rounded to nearest, ties to even. */
function roundShift(u: number, shift: number): number {
  const kept = u >>> shift;
  const rest = u & ((1 << shift) - 1);
  const tie = 1 << (shift - 1);
  return rest > tie || (rest === tie && kept & 1) ? kept + 1 : kept;
}

/** The value of the bfloat16 whose 16 bits are `b`: an f32 without its lower half. */
export function bfloatToFloat(b: number): number {
  bits[0] = b << 16;
  return float[0]!;
}
