// Keeps numbers within a cap, and small ones as they are: CAP tanh(z / CAP).
//                                                       Bello et al. 2016, arXiv:1611.09940
// WGSL's tanh may overflow, and may lose NaN, which is to be seen: exp(-|z|) does neither.
override CAP: f32;

fn softcap(z: vec4f) -> vec4f {
  let fade = exp(-2.0 * abs(z / CAP));
  return CAP * sign(z) * (1.0 - fade) / (1.0 + fade);
}
