// The weights and biases of a norm. The rows of a token share them, or have their own, PITCH numbers
// apart.
override PITCH: u32 = 0;
override BIASES: u32;  // numbers before the first bias
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;  // [2, D], or [2, parts, D]

fn weighted(value: vec4f, part: u32, i: u32) -> vec4f {
  let at = part * (PITCH / 4u) + i;
  return weight[at] * value + weight[BIASES / 4u + at];
}
