// The vectors that a matrix multiplies, as they are.

// Four numbers of x, of row `row`, which is a workgroup's vector t.
fn input(row: u32, t: u32, i: u32) -> vec4f {
  return x[row * matrix.chunks * 8u + i];
}

// What all products of a vector are multiplied with in the end.
fn input_scale(t: u32, lane: u32) -> f32 {
  return 1.0;
}
