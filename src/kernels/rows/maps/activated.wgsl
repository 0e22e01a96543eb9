// The hidden numbers of a feed-forward without a gate. Needs an activation function.
fn map(z: vec4f) -> vec4f {
  return activation(z);
}
