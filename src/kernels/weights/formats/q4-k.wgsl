// Q4_K: super-blocks of 256; chunks of 32 with a 6-bit scale and minimum. w = d scale q - dmin min.
// Scales: f16 d, f16 dmin; `scale_and_min`. Packed: 32 nibbles.

alias PackedScales = vec4<u32>;
fn packed_scales_of(index: u32) -> PackedScales {
  return scale_words_of(index);
}

alias Packed = vec4<u32>;
fn packed_of(block: u32) -> Packed {
  return quants_of(block);
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  return vec4f(numbers_of(nibble_bytes(packed, i)));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  let scale = unpack2x16float(packed_scales.x) * scale_and_min(packed_scales, place);
  return Scales(scale.xx, -scale.yy);
}
