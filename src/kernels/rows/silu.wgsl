// The activation function of SwiGLU: silu(z) = z / (1 + exp(-z)).
//                                                             Elfwing et al. 2017, arXiv:1702.03118
// exp overflows below -88; silu is zero to f32 long before.
fn activation(z: vec4f) -> vec4f {
  return z / (1.0 + exp(-max(z, vec4f(-80.0))));
}
