// What the products of a matrix with vectors become: y = W x + beta y.
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [T, N]

// Row `r` of workgroup `place`; beyond the matrix, its last one.
fn row_of(place: u32, r: u32) -> u32 {
  return min(place * ROWS + r, matrix.rows - 1u);
}

// Eights of rows that workgroup `place` has: the last one perhaps fewer than ROWS / 8.
fn eights_of(place: u32) -> u32 {
  let first = place * ROWS;
  return min(ROWS / 8u, (max(matrix.rows, first) - first + 7u) / 8u);
}

// Lane i of the first eight holds the totals of rows 8 e + i.
fn output(
  place: u32,
  token: u32,
  totals: ptr<function, array<f32, MAX_ROWS / 8u>>,
  scale: f32,
  lane: u32,
) {
  for (var e = 0u; e < ROWS / 8u; e++) {
    let row = place * ROWS + 8u * e + lane;
    if (lane < 8u && row < matrix.rows) {
      let to = token * matrix.stride + matrix.first + row;
      var result = scale * totals[e];
      if (matrix.beta != 0.0) {
        result += matrix.beta * y[to];
      }
      y[to] = result;
    }
  }
}
