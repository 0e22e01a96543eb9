// Q4_K: super-blocks of 256; chunks of 32 with a 6-bit scale and minimum. w = d scale q - dmin min.
// Head: f16 d, f16 dmin; `scale_and_min`. Packed: 32 nibbles.

alias Head = vec4<u32>;
fn head_of(index: u32) -> Head {
  return heads_of(index);
}

alias Packed = vec4<u32>;
fn packed_of(block: u32) -> Packed {
  return quants_of(block);
}

fn four_of(head: Head, place: u32, packed: Packed, i: u32) -> vec4f {
  return vec4f(numbers_of(nibble_bytes(packed, i)));
}

fn scales_of(head: Head, place: u32) -> Scales {
  let scale = unpack2x16float(head.x) * scale_and_min(head, place);
  return Scales(scale.xx, -scale.yy);
}
