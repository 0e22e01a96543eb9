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

fn pack_block(numbers: array<vec4f, BLOCK_CELLS>) -> array<Word, BLOCK_WORDS> {
  let cell = numbers[0];
  return array(vec2<u32>(pack2x16float(cell.xy), pack2x16float(cell.zw)));
}
