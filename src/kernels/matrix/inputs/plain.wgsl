// The vector that a matrix multiplies, as it is.

// Four numbers of x.
fn input(i: u32) -> vec4f {
  return x[i];
}

// What all products are multiplied with in the end.
fn input_scale(lane: u32) -> f32 {
  return 1.0;
}
