// The order of chunks in planes, row after row: right for every GPU.

fn block_of(row: u32, chunk: u32) -> u32 {
  return row * matrix.chunks + chunk;
}

fn super_of(row: u32, chunk: u32) -> u32 {
  return row * ((matrix.chunks + 7u) / 8u) + chunk / 8u;
}
