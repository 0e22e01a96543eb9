// F32: 4 bytes a weight. No scales.

alias PackedScales = u32;
fn packed_scales_of(index: u32) -> PackedScales {
  return 0u;
}

// A chunk is 32 words: they are loaded when they are used, so only their index is kept.
alias Packed = u32;
fn packed_of(block: u32) -> Packed {
  return 8u * block;
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  return bitcast<vec4f>(quants_of(packed + i));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  return Scales(vec2f(1.0), vec2f());
}
