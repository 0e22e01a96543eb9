// Appended, with `rotate`, to what declares E, qk [.., E/4] and turns [.., E/4].

// Four numbers of the head whose cells begin at `origin`, turned by a row of the table.
fn turned(origin: u32, cell: u32, row: u32) -> vec4f {
  let at = row * (E / 4u) + turns_of(cell);
  return rotate(cell, qk[origin + cell], qk[origin + other_cell(cell)], turns[at.x], turns[at.y]);
}
