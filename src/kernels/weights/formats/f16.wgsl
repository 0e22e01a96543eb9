// F16: IEEE binary16, two a word, so no shader-f16 is needed. No scales.

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
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  return Scales(vec2f(1.0), vec2f());
}
