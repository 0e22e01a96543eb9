// Rotary position embedding of one number of a head: pair i of a head turns by the angle of its row of the table.
//                                                                        Su et al. 2021, arXiv:2104.09864
// Appended to a page that declares E, the head width, and GAP, the distance of the two numbers of a pair: 1 where
// neighbours form a pair (llama), E/2 where the halves do (NEOX). Angles come from the host, in f64, as (cos, sin).

// The other number of the pair of number e.
fn partner(e: u32) -> u32 {
  return select(e - GAP, e + GAP, (e / GAP) % 2u == 0u);
}

// The pair of number e.
fn pair_of(e: u32) -> u32 {
  return e % GAP + e / (2u * GAP) * GAP;
}

// (a, b) -> (a cos - b sin, b cos + a sin)
fn rotate(e: u32, value: f32, other: f32, turn: vec2f) -> f32 {
  return value * turn.x + select(other, -other, (e / GAP) % 2u == 0u) * turn.y;
}
