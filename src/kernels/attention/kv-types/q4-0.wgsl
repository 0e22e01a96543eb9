// Cells as ggml's Q4_0 has them: 32 numbers of a head are a block with one scale, x = d (q - 8).
// Five words a block: four of nibbles, the low ones for cells 0 to 3 and the high ones for cells 4
// to 7, then d as a half.
alias Word = u32;
const BLOCK_CELLS = 8u;
const BLOCK_WORDS = 5u;

fn word_of(i: u32) -> u32 {
  return i / 8u * 5u + i % 4u;
}

fn scale_of(i: u32) -> u32 {
  return i / 8u * 5u + 4u;
}

fn unpack_cell(word: Word, scale: Word, i: u32) -> vec4f {
  let nibbles = vec4<u32>(word >> (i & 4u)) >> vec4<u32>(0u, 8u, 16u, 24u);
  return unpack2x16float(scale).x * (vec4f(nibbles & vec4<u32>(15u)) - 8.0);
}

// d = the x of largest size, the first of such, with its sign, / -8: so that it becomes 0, and none
// more than 16, which is cut to 15. q to the nearest, by the scale as it is before it becomes a
// half. Sizes are compared by their bits, since nothing is larger than a NaN; a block whose scale
// no half holds is all NaN.
fn pack_block(numbers: array<vec4f, BLOCK_CELLS>) -> array<Word, BLOCK_WORDS> {
  var largest = 0u;
  for (var e = 0u; e < 4u * BLOCK_CELLS; e++) {
    let x = bitcast<u32>(numbers[e / 4u][e % 4u]);
    largest = select(largest, x, (x & 0x7fffffffu) > (largest & 0x7fffffffu));
  }
  let d = bitcast<f32>(largest) / -8.0;
  let inverse = select(0.0, 1.0 / d, d != 0.0);
  var words: array<Word, BLOCK_WORDS>;
  for (var c = 0u; c < BLOCK_CELLS; c++) {
    let q = min(vec4<u32>(numbers[c] * inverse + 8.5), vec4<u32>(15u));
    words[c % 4u] |= dot(q, vec4<u32>(1u, 1u << 8u, 1u << 16u, 1u << 24u)) << (c & 4u);
  }
  let beyond = (largest & 0x7fffffffu) > 0x48ffe000u;  // 65504 * 8
  words[4] = pack2x16float(vec2f(d, 0.0)) | select(0u, 0x7e00u, beyond);
  return words;
}
