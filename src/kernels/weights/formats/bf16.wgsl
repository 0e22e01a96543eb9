// BF16: the upper half of an f32, two a word. No scales.

alias PackedScales = u32;
fn packed_scales_of(index: u32) -> PackedScales {
  return 0u;
}

alias Packed = array<vec4<u32>, 4>;
fn packed_of(block: u32) -> Packed {
  let first = 4u * block;
  return Packed(quants_of(first), quants_of(first + 1u), quants_of(first + 2u), quants_of(first + 3u));
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  let words = select(packed[i / 2u].xy, packed[i / 2u].zw, i % 2u == 1u);
  return bitcast<vec4f>((words.xxyy << vec4<u32>(16u, 0u, 16u, 0u)) & vec4<u32>(0xffff0000u));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  return Scales(vec2f(1.0), vec2f());
}
