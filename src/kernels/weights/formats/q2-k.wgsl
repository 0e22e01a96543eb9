// Q2_K: super-blocks of 256; groups of 16 with a 4-bit scale and minimum. w = d scale q - dmin min.
// Scales: sixteen bytes, scale low, min high; f16 d, f16 dmin. Packed: 32 two-bit quants.
@group(0) @binding(11) var<storage, read> super_scales: array<u32>;  // [N, K/256] f16 d, f16 dmin

struct PackedScales { scales: vec4<u32>, d: vec2f }
fn packed_scales_of(index: u32) -> PackedScales {
  return PackedScales(scale_words_of(index), unpack2x16float(super_scales[index]));
}

alias Packed = vec2<u32>;
fn packed_of(block: u32) -> Packed {
  return pairs_of(block);
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  return vec4f(numbers_of(pair_bytes(packed, i)));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  let two_scales = packed_scales.scales[place / 2u] >> (16u * (place & 1u));
  let both = vec2<u32>(two_scales & 255u, byte_of(two_scales, 1u));
  return Scales(packed_scales.d.x * vec2f(both & vec2<u32>(15u)), -packed_scales.d.y * vec2f(both >> vec2<u32>(4u)));
}
