// Four numbers of a cached key or value, as halves: WGSL packs them without shader-f16.
alias Cell = vec2<u32>;

fn pack_cell(numbers: vec4f) -> Cell {
  return vec2<u32>(pack2x16float(numbers.xy), pack2x16float(numbers.zw));
}

fn unpack_cell(cell: Cell) -> vec4f {
  return vec4f(unpack2x16float(cell.x), unpack2x16float(cell.y));
}
