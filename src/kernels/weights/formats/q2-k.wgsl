// Q2_K: super-blocks of 256; groups of 16 with a 4-bit scale and minimum. w = d scale q - dmin min.
// Head: sixteen bytes, scale low, min high; f16 d, f16 dmin. Packed: 32 two-bit quants.
@group(0) @binding(11) var<storage, read> supers: array<u32>;  // [N, K/256] f16 d, f16 dmin

struct Head { scales: vec4<u32>, d: vec2f }
fn head_of(index: u32) -> Head {
  return Head(heads_of(index), unpack2x16float(supers[index]));
}

alias Packed = vec2<u32>;
fn packed_of(block: u32) -> Packed {
  return pairs_of(block);
}

fn four_of(head: Head, place: u32, packed: Packed, i: u32) -> vec4f {
  return vec4f(numbers_of(pair_bytes(packed, i)));
}

fn scales_of(head: Head, place: u32) -> Scales {
  let two_scales = head.scales[place / 2u] >> (16u * (place & 1u));
  let both = vec2<u32>(two_scales & 255u, byte_of(two_scales, 1u));
  return Scales(head.d.x * vec2f(both & vec2<u32>(15u)), -head.d.y * vec2f(both >> vec2<u32>(4u)));
}
