// The weights of a norm. The rows of a token share them, or have their own, PITCH numbers apart.
override PITCH: u32 = 0;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;  // [D], or [parts, D]

fn weighted(value: vec4f, part: u32, i: u32) -> vec4f {
  return weight[part * (PITCH / 4u) + i] * value;
}
