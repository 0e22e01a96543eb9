// F32: 4 bytes a weight. No head.

alias Head = u32;
fn head_of(index: u32) -> Head {
  return 0u;
}

// So many words that they are better loaded where they are used.
alias Packed = u32;
fn packed_of(block: u32) -> Packed {
  return 8u * block;
}

fn four_of(head: Head, place: u32, packed: Packed, i: u32) -> vec4f {
  return bitcast<vec4f>(quants_of(packed + i));
}

fn scales_of(head: Head, place: u32) -> Scales {
  return Scales(vec2f(1.0), vec2f());
}
