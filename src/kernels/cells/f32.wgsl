// Four numbers of a cached key or value, as f32.
alias Cell = vec4f;

fn pack_cell(numbers: vec4f) -> Cell {
  return numbers;
}

fn unpack_cell(cell: Cell) -> vec4f {
  return cell;
}
