// The order of chunks in planes, row after row: right for every GPU.
const BESIDE = 1u;  // blocks from a chunk to the next one of its row and super-block

fn block_of(row: u32, chunk: u32) -> u32 {
  return row * matrix.chunks + chunk;
}

fn super_of(row: u32, chunk: u32) -> u32 {
  return row * ((matrix.chunks + 7u) / 8u) + chunk / 8u;
}
