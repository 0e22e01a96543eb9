// IQ4_XS: super-blocks of 256 with 6-bit scales a chunk; a nibble is an index. w = d (scale - 32) iq4_values(q).
// Head: f16 d, upper scale bits; nibbles. Packed: 32 nibbles.
@group(0) @binding(9) var<storage, read> headers: array<vec2<u32>>;  // [N, K/256]

alias Head = vec2<u32>;
fn head_of(index: u32) -> Head {
  return headers[index];
}

alias Packed = vec4<u32>;
fn packed_of(block: u32) -> Packed {
  return quants_of(block);
}

fn four_of(head: Head, place: u32, packed: Packed, i: u32) -> vec4f {
  return iq4_values(numbers_of(nibble_bytes(packed, i)));
}

fn scales_of(head: Head, place: u32) -> Scales {
  let lower = (head.y >> (4u * place)) & 15u;
  let upper = (head.x >> (16u + 2u * place)) & 3u;
  return Scales(vec2f(unpack2x16float(head.x).x * (f32(lower | (upper << 4u)) - 32.0)), vec2f());
}
