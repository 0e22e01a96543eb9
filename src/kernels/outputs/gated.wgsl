// What a product of a matrix with a vector becomes: h = silu(G x) * (U x), silu(z) = z / (1 + exp(-z)), where the rows of G
// lie above those of U in one matrix W [2 F, K]: the first half of a gated feed-forward. Half of a workgroup's ROWS, a
// multiple of 8, are of either.                                                   Shazeer 2020, arXiv:2002.05202
@group(0) @binding(1) var<storage, read_write> h: array<f32>;  // [F]

// Row `r` of workgroup `place`, first those of G; beyond the matrix, its last one.
fn row_of(place: u32, r: u32) -> u32 {
  let width = matrix.rows / 2u;
  let pairs = ROWS / 2u;
  return min(place * pairs + r % pairs, width - 1u) + select(0u, width, r >= pairs);
}

// Lane i of the first eight holds the totals of rows 8 e + i.
fn output(place: u32, totals: ptr<function, array<f32, MOST / 8u>>, scale: f32, lane: u32) {
  let pairs = ROWS / 2u;
  for (var e = 0u; e < pairs / 8u; e++) {
    let row = place * pairs + 8u * e + lane;
    if (lane < 8u && row < matrix.rows / 2u) {
      let z = scale * totals[e];
      let up = scale * totals[pairs / 8u + e];
      // exp overflows below -88; silu is zero to f32 long before.
      h[row] = z / (1.0 + exp(-max(z, -80.0))) * up;
    }
  }
}
