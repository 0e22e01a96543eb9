// Q3_K: super-blocks of 256; groups of 16 with a 6-bit scale. w = d (scale - 32) (q - 4), q of
// three bits. Scales: twelve bytes of scales, f16 d; eight words of third bits, bit l of weight l.
// Packed: 32 two-bit quants.

struct PackedScales { scales: vec4<u32>, low: vec4<u32>, high: vec4<u32> }
fn packed_scales_of(index: u32) -> PackedScales {
  return PackedScales(scale_words_of(index), bits_of(2u * index), bits_of(2u * index + 1u));
}

alias Packed = vec2<u32>;
fn packed_of(block: u32) -> Packed {
  return pairs_of(block);
}

// Scale `group` (0..15): nibbles in bytes 0..7 (low for 0..7, high for 8..15), upper pairs in bytes
// 8..11.
fn scale_of(scales: vec4<u32>, group: u32) -> f32 {
  let lower = (scales[(group >> 2u) & 1u] >> (8u * (group & 3u) + 4u * (group >> 3u))) & 15u;
  let upper = (scales.z >> (8u * (group & 3u) + 2u * (group >> 2u))) & 3u;
  return f32(lower | (upper << 4u)) - 32.0;
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  let word = word_of(packed_scales.low, packed_scales.high, place);
  return vec4f(numbers_of(pair_bytes(packed, i) | (bit_bytes(word, i) << 2u))) - 4.0;
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  let scale = vec2f(scale_of(packed_scales.scales, 2u * place), scale_of(packed_scales.scales, 2u * place + 1u));
  return Scales(unpack2x16float(packed_scales.scales.w).x * scale, vec2f());
}
