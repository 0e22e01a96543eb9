// Rotary position embedding as in `neighbours`, of pairs (i, i + GAP): the halves of the first 2 GAP
// numbers of a head. The rest, if there is any, stays (partial rotary). GAP is a multiple of 4, so
// that the other numbers of a cell's pairs are one cell.
override GAP: u32;  // distance of the two numbers of a pair

fn rotated(origin: u32, cell: u32, row: u32) -> vec4f {
  let half = GAP / 4u;  // cells
  let value = unrotated(origin, cell);
  if (cell >= 2u * half) {
    return value;
  }
  let first = cell < half;
  let other = unrotated(origin, select(cell - half, cell + half, first));
  let at = row * (E / 4u) + 2u * (cell % half);
  let low = rotation(at);
  let high = rotation(at + 1u);
  return value * vec4f(low.xz, high.xz) + select(other, -other, first) * vec4f(low.yw, high.yw);
}
