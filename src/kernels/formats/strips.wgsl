// The order of chunks in planes, in place of `rows`, for adapters that are CPUs: strips of as many columns as lanes take at
// a time, row after row in each, so that a page that lets all rows pass before the next columns reads memory in its order.
fn block_of(row: u32, chunk: u32) -> u32 {
  return (chunk - chunk % matrix.strip) * matrix.rows + row * blocks_down(chunk) + chunk % matrix.strip;
}

// Blocks from a chunk to the one below it: the last strip may be narrower.
fn blocks_down(chunk: u32) -> u32 {
  return min(matrix.strip, matrix.chunks - (chunk - chunk % matrix.strip));
}

// Where a texture holds what `index` counts: row after row of texels.
fn texel_of(index: u32) -> vec2<u32> {
  return vec2<u32>(index & ((1u << matrix.texel_bits) - 1u), index >> matrix.texel_bits);
}
