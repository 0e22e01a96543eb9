// No weights, but a probe: in place of Q4_K, numbers made of the place of a chunk, unpacked as its own would be.
alias PackedScales = vec4<u32>;
alias Packed = vec4<u32>;

const ODD = vec4<u32>(0x9e3779b1u, 0x85ebca77u, 0xc2b2ae3du, 0x27d4eb2fu);

fn packed_scales_of(index: u32) -> PackedScales {
  return vec4<u32>(index) * ODD;
}

fn packed_of(block: u32) -> Packed {
  return vec4<u32>(block) * ODD;
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  return vec4f(numbers_of(nibble_bytes(packed, i)));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  let scale = unpack2x16float((packed_scales.x & 0x03ff03ffu) | 0x3c003c00u) * scale_and_min(packed_scales, place);
  return Scales(scale.xx, -scale.yy);
}
