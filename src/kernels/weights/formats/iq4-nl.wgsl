// IQ4_NL: blocks of 32 with one scale; a nibble is an index into sixteen values. w = d
// iq4_values(q). Scales: eight f16 d. Packed: 32 nibbles.

alias PackedScales = vec4<u32>;
fn packed_scales_of(index: u32) -> PackedScales {
  return scale_words_of(index);
}

alias Packed = vec4<u32>;
fn packed_of(block: u32) -> Packed {
  return quants_of(block);
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  return iq4_values(numbers_of(nibble_bytes(packed, i)));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  return Scales(vec2f(half_of(packed_scales, place)), vec2f());
}
