// IQ4_XS: super-blocks of 256 with 6-bit scales a chunk; a nibble is an index. w = d (scale - 32)
// iq4_values(q). Scales: f16 d, upper scale bits; nibbles. Packed: 32 nibbles.
@group(0) @binding(9) var<storage, read> scales: array<vec2<u32>>;  // [N, K/256]

alias PackedScales = vec2<u32>;
fn packed_scales_of(index: u32) -> PackedScales {
  return scales[index];
}

alias Packed = vec4<u32>;
fn packed_of(block: u32) -> Packed {
  return quants_of(block);
}

fn four_of(packed_scales: PackedScales, place: u32, packed: Packed, i: u32) -> vec4f {
  return iq4_values(numbers_of(nibble_bytes(packed, i)));
}

fn scales_of(packed_scales: PackedScales, place: u32) -> Scales {
  let lower = (packed_scales.y >> (4u * place)) & 15u;
  let upper = (packed_scales.x >> (16u + 2u * place)) & 3u;
  return Scales(vec2f(unpack2x16float(packed_scales.x).x * (f32(lower | (upper << 4u)) - 32.0)), vec2f());
}
