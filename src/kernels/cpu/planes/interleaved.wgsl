// The order of chunks in planes, in place of weights/planes/rows, for eight lanes that take eight
// rows: one super-block of all rows, then the next of all; in each, eight rows together, chunk by
// chunk, so that the lanes load neighbouring addresses, and their next load follows. Rows beyond
// the last, up to a multiple of eight, are undefined and never read.

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

// The texel of item `index` in a texture: row after row.
fn texel_of(index: u32) -> vec2<u32> {
  return vec2<u32>(index & ((1u << matrix.texel_bits) - 1u), index >> matrix.texel_bits);
}
