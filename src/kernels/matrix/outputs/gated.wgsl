// What the products of a matrix with vectors become: h = activation(G x) * (U x), where the rows of G lie above those of U in
// one matrix W [2 F, K]: the first half of a gated feed-forward. Half of a workgroup's ROWS, a multiple of 8, are of
// either. The activation function is a fragment of `rows`.                        Shazeer 2020, arXiv:2002.05202
@group(0) @binding(1) var<storage, read_write> h: array<f32>;  // [T, F], rows padded to whole chunks

// Row `r` of workgroup `place`: eight of G, then eight of U, and so on; beyond the matrix, its last
// row.
fn row_of(place: u32, r: u32) -> u32 {
  let width = matrix.rows / 2u;
  let pair = place * (ROWS / 2u) + r / 16u * 8u + r % 8u;
  return min(pair, width - 1u) + select(0u, width, (r & 8u) != 0u);
}

// Eights of rows that workgroup `place` has: the last one perhaps fewer than ROWS / 8.
fn eights_of(place: u32) -> u32 {
  let first = place * (ROWS / 2u);
  let width = max(matrix.rows / 2u, first);
  return min(ROWS / 8u, (width - first + 7u) / 8u * 2u);
}

// Lane i of the first eight holds the totals of rows 8 e + i.
fn output(
  place: u32,
  token: u32,
  totals: ptr<function, array<f32, MAX_ROWS / 8u>>,
  scale: f32,
  lane: u32,
) {
  let base = token * ((matrix.rows / 2u + 31u) / 32u * 32u);
  for (var e = 0u; e < ROWS / 8u; e += 2u) {
    let row = place * (ROWS / 2u) + 4u * e + lane;
    if (lane < 8u && row < matrix.rows / 2u) {
      h[base + row] = activation(vec4f(scale * totals[e])).x * (scale * totals[e + 1u]);
    }
  }
}
