// Cells of f32: a word is four numbers. Every fragment of this folder declares the same functions:
// where in a head the word of cell i lies, and the word of its scale; how to unpack both; and how
// to pack a block, the cells that are stored together. Here there is no scale: `scale_of` gives the
// same word, which is not read twice.
alias Word = vec4f;
const BLOCK_CELLS = 1u;
const BLOCK_WORDS = 1u;

fn word_of(i: u32) -> u32 {
  return i;
}

fn scale_of(i: u32) -> u32 {
  return i;
}

fn unpack_cell(word: Word, _scale: Word, _i: u32) -> vec4f {
  return word;
}

// An infinity becomes NaN: a score of minus infinity would only hide its key.
fn pack_block(numbers: array<vec4f, BLOCK_CELLS>) -> array<Word, BLOCK_WORDS> {
  let bits = bitcast<vec4<u32>>(numbers[0]);
  let infinite = (bits & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u);
  return array(bitcast<vec4f>(bits | select(vec4<u32>(), vec4<u32>(0x400000u), infinite)));
}
