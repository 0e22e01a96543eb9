// Cells as ggml's Q8_0 has them: 32 numbers of a head are a block with one scale, x = d q. Nine
// words a block: a word of four signed bytes for each of eight cells, then d as a half.
alias Word = u32;
const BLOCK_CELLS = 8u;
const BLOCK_WORDS = 9u;

fn word_of(i: u32) -> u32 {
  return i / 8u * 9u + i % 8u;
}

fn scale_of(i: u32) -> u32 {
  return i / 8u * 9u + 8u;
}

fn unpack_cell(word: Word, scale: Word, _i: u32) -> vec4f {
  let bytes = vec4<i32>(bitcast<i32>(word)) << vec4<u32>(24u, 16u, 8u, 0u);
  return unpack2x16float(scale).x * vec4f(bytes >> vec4<u32>(24u));
}

// d = max |x| / 127; q to the nearest, ties away from zero, by the scale as it is before it becomes
// a half. Sizes are compared by their bits, since `max` may drop a NaN; a block whose scale no half
// holds is all NaN.
fn pack_block(numbers: array<vec4f, BLOCK_CELLS>) -> array<Word, BLOCK_WORDS> {
  var sizes = vec4<u32>();
  for (var c = 0u; c < BLOCK_CELLS; c++) {
    sizes = max(sizes, bitcast<vec4<u32>>(numbers[c]) & vec4<u32>(0x7fffffffu));
  }
  let largest = max(max(sizes.x, sizes.y), max(sizes.z, sizes.w));
  let d = bitcast<f32>(largest) / 127.0;
  let inverse = select(0.0, 1.0 / d, d > 0.0);
  var words: array<Word, BLOCK_WORDS>;
  for (var c = 0u; c < BLOCK_CELLS; c++) {
    let x = numbers[c] * inverse;
    let whole = trunc(x);
    let q = whole + select(vec4f(), sign(x), abs(x - whole) >= vec4f(0.5));
    let bytes = vec4<u32>(vec4<i32>(q)) & vec4<u32>(255u);
    words[c] = dot(bytes, vec4<u32>(1u, 1u << 8u, 1u << 16u, 1u << 24u));
  }
  words[8] = pack2x16float(vec2f(d, 0.0)) | select(0u, 0x7e00u, largest > 0x4afde040u);  // 65504 * 127
  return words;
}
