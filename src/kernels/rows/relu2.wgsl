// The activation function of squared ReLU.                     So et al. 2021, arXiv:2109.08668
fn activation(z: vec4f) -> vec4f {
  let positive = max(z, vec4f());
  return positive * positive;
}
