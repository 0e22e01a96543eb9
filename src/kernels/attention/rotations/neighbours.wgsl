// Rotary position embedding of the cells of a head, four numbers each: pair i, the numbers 2 i and
// 2 i + 1, is rotated by an angle from a table, (a, b) -> (a cos - b sin, b cos + a sin). The host
// computes the table in f64, as (cos, sin), two pairs a vec4f; pairs that do not rotate have (1, 0).
// Appended to a shader that declares E, the head width, with `unrotated` and `rotation`.
//                                                                  Su et al. 2021, arXiv:2104.09864

// Four numbers of the head whose cells begin at `origin`, rotated by a row of the table.
fn rotated(origin: u32, cell: u32, row: u32) -> vec4f {
  let value = unrotated(origin, cell);
  let turn = rotation(row * (E / 4u) + cell);
  return value * turn.xxzz + vec4f(-value.y, value.x, -value.w, value.z) * turn.yyww;
}
