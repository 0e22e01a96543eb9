// Noise that needs no state: Threefry-2x32-20, a function of a seed and a counter.
//                                                                     Salmon et al. 2011, Random123
// Appended to shaders that draw; `engine/sampler/gumbel.ts` computes the same numbers on the host.

fn rotate_left(x: u32, by: u32) -> u32 {
  return (x << by) | (x >> (32u - by));
}

fn threefry_round(x: vec2<u32>, by: u32) -> vec2<u32> {
  let sum = x.x + x.y;
  return vec2<u32>(sum, rotate_left(x.y, by) ^ sum);
}

fn threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
  let keys = vec3<u32>(key, 0x1bd11bdau ^ key.x ^ key.y);
  var x = counter + key;
  for (var i = 0u; i < 5u; i++) {
    let by = select(vec4<u32>(17u, 29u, 16u, 24u), vec4<u32>(13u, 15u, 26u, 6u), i % 2u == 0u);
    x = threefry_round(threefry_round(threefry_round(threefry_round(x, by.x), by.y), by.z), by.w);
    x += vec2<u32>(keys[(i + 1u) % 3u], keys[(i + 2u) % 3u] + i + 1u);
  }
  return x;
}

// -ln(-ln(u)) for u uniform in (0, 1): the largest of logit + gumbel is a draw from
// softmax(logits).                                   Gumbel 1954; Maddison et al. 2014, A* Sampling
fn gumbel(bits: u32) -> f32 {
  let w = (f32(bits >> 9u) + 0.5) * exp2(-23.0);  // 1 - u, exactly
  let z = w / (2.0 - w);
  let z2 = z * z;
  // -ln(1 - w) = 2 artanh(z): by its series if w is small, since the logarithm of a number near 1
  // is not exact.
  let rare = select(-log(1.0 - w), 2.0 * z * (1.0 + z2 * (1.0 / 3.0 + z2 / 5.0)), w < 0.25);
  return -log(rare);
}
