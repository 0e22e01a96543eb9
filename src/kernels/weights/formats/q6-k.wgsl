// Q6_K: super-blocks of 256; groups of 16 with a signed byte scale. w = d scale (q - 32), q of six
// bits. Scales: sixteen signed bytes; f16 d. Packed: 32 nibbles, 32 pairs of upper bits.
@group(0) @binding(11) var<storage, read> super_scales: array<u32>;  // [N, K/256] f16 d

struct PackedScales { scales: vec4<u32>, d: f32 }
fn packed_scales_of(index: u32) -> PackedScales {
  return PackedScales(scale_words_of(index), unpack2x16float(super_scales[index]).x);
}

struct Packed { quants: vec4<u32>, pairs: vec2<u32> }
fn packed_of(block: u32) -> Packed {
  return Packed(quants_of(block), pairs_of(block));
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  return vec4f(numbers_of(nibble_bytes(packed.quants, i) | (pair_bytes(packed.pairs, i) << 4u)));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  let two_scales = bitcast<i32>(packed_scales.scales[place / 2u] << (16u - 16u * (place & 1u)));
  let scale = packed_scales.d * vec2f(f32((two_scales << 8u) >> 24u), f32(two_scales >> 24u));
  return Scales(scale, -32.0 * scale);
}
