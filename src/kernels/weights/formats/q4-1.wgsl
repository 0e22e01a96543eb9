// Q4_1: blocks of 32 with a scale and a minimum. w = d q + m.
// Scales: eight times f16 d, f16 m. Packed: 32 nibbles.

struct PackedScales { low: vec4<u32>, high: vec4<u32> }
fn packed_scales_of(index: u32) -> PackedScales {
  return PackedScales(scale_words_of(2u * index), scale_words_of(2u * index + 1u));
}

alias Packed = vec4<u32>;
fn packed_of(block: u32) -> Packed {
  return quants_of(block);
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  return vec4f(numbers_of(nibble_bytes(packed, i)));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  let scale = unpack2x16float(word_of(packed_scales.low, packed_scales.high, place));
  return Scales(scale.xx, scale.yy);
}
