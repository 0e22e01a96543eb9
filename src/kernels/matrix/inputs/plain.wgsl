// The vector that a matrix multiplies, as it is.

// Four numbers of x.
fn input(i: u32) -> vec4f {
  return x[i];
}

// The factor of all products.
fn input_scale(lane: u32) -> f32 {
  return 1.0;
}
