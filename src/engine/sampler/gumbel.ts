/**
 * Random draws without state: the noise of a token is a function of the seed, the token's position
 * and its id.
 */

/** Rotations of Threefry-2x32, four rounds a line. */
const ROTATIONS = [
  [13, 15, 26, 6],
  [17, 29, 16, 24],
] as const;

/**
 * Threefry-2x32-20 of Salmon et al. 2011 ("Random123"): two random words for a key and a counter of
 * two words each.
 */
export function threefry(
  [k0, k1]: readonly [number, number],
  [c0, c1]: readonly [number, number],
): [number, number] {
  const keys = [k0, k1, 0x1bd11bda ^ k0 ^ k1];
  let x = (c0 + k0) | 0;
  let y = (c1 + k1) | 0;
  for (let i = 0; i < 5; i++) {
    for (const by of ROTATIONS[i % 2]!) {
      x = (x + y) | 0;
      y = ((y << by) | (y >>> (32 - by))) ^ x;
    }
    x = (x + keys[(i + 1) % 3]!) | 0;
    y = (y + keys[(i + 2) % 3]! + i + 1) | 0;
  }
  return [x >>> 0, y >>> 0];
}

/**
 * Standard Gumbel noise for a token id at a position of a text: the largest of logits with noise
 * added to each is a draw from their softmax (Gumbel 1954). `choose.wgsl` computes the same in f32;
 * `seed` is an integer below 2^53.
 */
export function gumbel(seed: number, position: number, id: number): number {
  const [word] = threefry([seed >>> 0, Math.floor(seed / 2 ** 32)], [position >>> 0, id]);
  const w = ((word >>> 9) + 0.5) / 2 ** 23;
  return -Math.log(-Math.log1p(-w));
}
