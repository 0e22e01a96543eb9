// No weights, but a probe: in place of Q4_K, all that it loads, and next to nothing done with it. Appended with its planes.
alias Head = vec4<u32>;
alias Packed = vec4<u32>;

fn head_of(index: u32) -> Head {
  return heads_of(index);
}

fn packed_of(block: u32) -> Packed {
  return quants_of(block);
}

fn four_of(head: Head, place: u32, packed: Packed, i: u32) -> vec4f {
  return select(vec4f(), vec4f(packed ^ head), i == 0u);
}

fn scales_of(head: Head, place: u32) -> Scales {
  return Scales(vec2f(1.0), vec2f());
}
