// Appended, with `rotate`, to what declares E, qk [.., E/4] and rotations [.., E/4].

// Four numbers of the head whose cells begin at `origin`, rotated by a row of the table.
fn rotated_cell(origin: u32, cell: u32, row: u32) -> vec4f {
  let at = row * (E / 4u) + rotations_of(cell);
  return rotate(cell, qk[origin + cell], qk[origin + other_cell(cell)], rotations[at.x], rotations[at.y]);
}
