// No weights, but a probe: in place of Q4_K, all that it loads, and next to nothing done with it. Appended with its planes.
alias PackedScales = vec4<u32>;
alias Packed = vec4<u32>;

fn packed_scales_of(index: u32) -> PackedScales {
  return scale_words_of(index);
}

fn packed_of(block: u32) -> Packed {
  return quants_of(block);
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  return select(vec4f(), vec4f(packed ^ packed_scales), i == 0u);
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  return Scales(vec2f(1.0), vec2f());
}
