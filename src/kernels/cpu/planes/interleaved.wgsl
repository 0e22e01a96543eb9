// The order of chunks in planes, in place of weights/planes/rows, for eight lanes that take eight
// rows: one super-block of all rows, then the next of all; in each, eight rows together, chunk by
// chunk, so that what the lanes load at a time lies side by side and what they load next follows.
// Rows that are missing to a multiple of eight hold anything, and are never read.

fn block_of(row: u32, chunk: u32) -> u32 {
  let start = chunk & ~7u;
  let width = min(8u, matrix.chunks - start);  // the last super-block may have fewer chunks
  return start * places() + ((row & ~7u) * width) + (chunk - start) * 8u + (row & 7u);
}

fn super_of(row: u32, chunk: u32) -> u32 {
  return chunk / 8u * places() + row;
}

fn places() -> u32 {
  return (matrix.rows + 7u) & ~7u;
}

// Where a texture holds what `index` counts: row after row of texels.
fn texel_of(index: u32) -> vec2<u32> {
  return vec2<u32>(index & ((1u << matrix.texel_bits) - 1u), index >> matrix.texel_bits);
}
