// Q5_1: blocks of 32 with a scale, a minimum and a word of fifth bits. w = d q + m. Scales: eight
// times f16 d, f16 m; eight words of fifth bits, bit l of weight l. Packed: 32 nibbles.

struct PackedScales { scales: vec4<u32>, more: vec4<u32>, low: vec4<u32>, high: vec4<u32> }
fn packed_scales_of(index: u32) -> PackedScales {
  let first = 2u * index;
  return PackedScales(scale_words_of(first), scale_words_of(first + 1u), bits_of(first), bits_of(first + 1u));
}

alias Packed = vec4<u32>;
fn packed_of(block: u32) -> Packed {
  return quants_of(block);
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  let word = word_of(packed_scales.low, packed_scales.high, place);
  return vec4f(numbers_of(nibble_bytes(packed, i) | (bit_bytes(word, i) << 4u)));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  let scale = unpack2x16float(word_of(packed_scales.scales, packed_scales.more, place));
  return Scales(scale.xx, scale.yy);
}
