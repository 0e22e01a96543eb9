// Q4_1: blocks of 32 with a scale and a minimum. w = d q + m.
// Head: eight times f16 d, f16 m. Packed: 32 nibbles.

struct Head { low: vec4<u32>, high: vec4<u32> }
fn head_of(index: u32) -> Head {
  return Head(heads_of(2u * index), heads_of(2u * index + 1u));
}

alias Packed = vec4<u32>;
fn packed_of(block: u32) -> Packed {
  return quants_of(block);
}

fn four_of(head: Head, place: u32, packed: Packed, i: u32) -> vec4f {
  return vec4f(numbers_of(nibble_bytes(packed, i)));
}

fn scales_of(head: Head, place: u32) -> Scales {
  let scale = unpack2x16float(word_of(head.low, head.high, place));
  return Scales(scale.xx, scale.yy);
}
