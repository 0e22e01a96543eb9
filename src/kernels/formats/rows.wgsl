// The order of chunks in planes, row after row: right for every GPU.
fn block_of(row: u32, chunk: u32) -> u32 {
  return row * matrix.chunks + chunk;
}

// Blocks from a chunk to the one below it.
fn blocks_down(chunk: u32) -> u32 {
  return matrix.chunks;
}
