// Rotary position embedding of the cells of a head, four numbers each: pair i of a head turns by the angle of its row of a
// table, (a, b) -> (a cos - b sin, b cos + a sin).                                Su et al. 2021, arXiv:2104.09864
// Appended to what declares E, the head width. Angles come from the host, in f64, as (cos, sin), two pairs a vec4f.
override GAP: u32;  // distance of the two numbers of a pair: 1 where neighbours form one (llama), or E/2 (NEOX)

// The cell that holds the other numbers of a cell's pairs: itself, or one half a head away.
fn other_cell(cell: u32) -> u32 {
  return select((cell + E / 8u) % (E / 4u), cell, GAP == 1u);
}

// Where the rotations of a cell lie in a row of E/4: neighbours are two pairs, and halves belong to
// four, in two places.
fn rotations_of(cell: u32) -> vec2<u32> {
  let half = max(E / 8u, 1u);
  return select(2u * (cell % half) + vec2<u32>(0u, 1u), vec2<u32>(cell), GAP == 1u);
}

// A cell, with what `other_cell` holds and what lies at `rotations_of`.
fn rotate(cell: u32, value: vec4f, other: vec4f, low: vec4f, high: vec4f) -> vec4f {
  if (GAP == 1u) {
    return value * low.xxzz + vec4f(-value.y, value.x, -value.w, value.z) * low.yyww;
  }
  return value * vec4f(low.xz, high.xz) + select(other, -other, cell < E / 8u) * vec4f(low.yw, high.yw);
}
