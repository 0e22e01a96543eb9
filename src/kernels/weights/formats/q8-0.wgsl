// Q8_0: blocks of 32 signed bytes with one scale. w = d q.
// Scales: eight f16 d. Packed: two times 16 signed bytes.

alias PackedScales = vec4<u32>;
fn packed_scales_of(index: u32) -> PackedScales {
  return scale_words_of(index);
}

alias Packed = array<vec4<u32>, 2>;
fn packed_of(block: u32) -> Packed {
  return Packed(quants_of(2u * block), quants_of(2u * block + 1u));
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  let bytes = vec4<i32>(bitcast<i32>(packed[i / 4u][i % 4u])) << vec4<u32>(24u, 16u, 8u, 0u);
  return vec4f(bytes >> vec4<u32>(24u));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  return Scales(vec2f(half_of(packed_scales, place)), vec2f());
}
