// The activation function of GeGLU, GELU by a tangent: z (1 + tanh u) / 2 = z / (1 + exp(-2 u)).
//                                                    Hendrycks & Gimpel 2016, arXiv:1606.08415
// Beyond 10 it is z or zero to f32, and exp would overflow.
fn activation(z: vec4f) -> vec4f {
  let near = clamp(z, vec4f(-10.0), vec4f(10.0));
  let u = 0.7978845608 * near * (1.0 + 0.044715 * near * near);  // sqrt(2 / pi)
  return z / (1.0 + exp(-2.0 * u));
}
