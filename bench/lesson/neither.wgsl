// No weights, but a probe: in place of Q4_K, neither its loads nor its arithmetic, only what surrounds them.
alias PackedScales = vec4<u32>;
alias Packed = vec4<u32>;

fn packed_scales_of(index: u32) -> PackedScales {
  return vec4<u32>(index);
}

fn packed_of(block: u32) -> Packed {
  return vec4<u32>(block);
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  return select(vec4f(), vec4f(packed ^ packed_scales), i == 0u);
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  return Scales(vec2f(1.0), vec2f());
}
