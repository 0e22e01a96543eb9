// Cells of halves: a word is four of them, without a scale. WGSL packs them without shader-f16.
alias Word = vec2<u32>;
const BLOCK_CELLS = 1u;
const BLOCK_WORDS = 1u;

fn word_of(i: u32) -> u32 {
  return i;
}

fn scale_of(i: u32) -> u32 {
  return i;
}

fn unpack_cell(word: Word, _scale: Word, _i: u32) -> vec4f {
  return vec4f(unpack2x16float(word.x), unpack2x16float(word.y));
}

// A number beyond the largest half becomes NaN, which shows in every result. WGSL leaves open what
// the adapter would make of it.
fn pack_block(numbers: array<vec4f, BLOCK_CELLS>) -> array<Word, BLOCK_WORDS> {
  let cell = numbers[0];
  let beyond = (bitcast<vec4<u32>>(cell) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x477fe000u);  // 65504
  let nan = select(vec4<u32>(), vec4<u32>(0x7e00u, 0x7e000000u, 0x7e00u, 0x7e000000u), beyond);
  return array(vec2<u32>(pack2x16float(cell.xy) | nan.x | nan.y, pack2x16float(cell.zw) | nan.z | nan.w));
}
