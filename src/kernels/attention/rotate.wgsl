// Rotary position embedding of the cells of a head, four numbers each: pair i of a head is rotated
// by an angle from a table, (a, b) -> (a cos - b sin, b cos + a sin). The host computes the table
// in f64, as (cos, sin), two pairs a vec4f. Appended to a shader that declares E, the head width.
//                                                                  Su et al. 2021, arXiv:2104.09864
override GAP: u32;  // distance of the two numbers of a pair: 1 (llama) or E/2 (NEOX)

// The cell that holds the other numbers of a cell's pairs: itself, or one half a head away.
fn other_cell(cell: u32) -> u32 {
  return select((cell + E / 8u) % (E / 4u), cell, GAP == 1u);
}

// The indices of a cell's rotations in a row of E/4: of two pairs for neighbours, which lie in one
// vec4f; of four pairs for halves, in two.
fn rotations_of(cell: u32) -> vec2<u32> {
  let half = max(E / 8u, 1u);
  return select(2u * (cell % half) + vec2<u32>(0u, 1u), vec2<u32>(cell), GAP == 1u);
}

// A rotated cell, given the numbers of `other_cell` and the rotations at `rotations_of`.
fn rotate(cell: u32, value: vec4f, other: vec4f, low: vec4f, high: vec4f) -> vec4f {
  if (GAP == 1u) {
    return value * low.xxzz + vec4f(-value.y, value.x, -value.w, value.z) * low.yyww;
  }
  return value * vec4f(low.xz, high.xz) + select(other, -other, cell < E / 8u) * vec4f(low.yw, high.yw);
}
