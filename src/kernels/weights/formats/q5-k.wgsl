// Q5_K: super-blocks of 256; chunks of 32 with a 6-bit scale and minimum. w = d scale q - dmin min,
// q of five bits. Scales: f16 d, f16 dmin; `scale_and_min`; eight words of fifth bits, bit l of
// weight l. Packed: 32 nibbles.

struct PackedScales { scales: vec4<u32>, low: vec4<u32>, high: vec4<u32> }
fn packed_scales_of(index: u32) -> PackedScales {
  return PackedScales(scale_words_of(index), bits_of(2u * index), bits_of(2u * index + 1u));
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
  let scale = unpack2x16float(packed_scales.scales.x) * scale_and_min(packed_scales.scales, place);
  return Scales(scale.xx, -scale.yy);
}
