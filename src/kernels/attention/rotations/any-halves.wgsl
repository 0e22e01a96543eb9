// As `halves`, if GAP is no multiple of 4 (StableLM 3B rotates 20 of 80 numbers): the other numbers
// of a cell's pairs are of several cells, so they are fetched one by one.
override GAP: u32;  // distance of the two numbers of a pair

fn rotated(origin: u32, cell: u32, row: u32) -> vec4f {
  let value = unrotated(origin, cell);
  var result = value;
  for (var c = 0u; c < 4u; c++) {
    let i = cell * 4u + c;
    if (i < 2u * GAP) {
      let first = i < GAP;
      let j = select(i - GAP, i + GAP, first);
      let other = unrotated(origin, j / 4u)[j % 4u];
      let pair = i % GAP;
      let pairs = rotation(row * (E / 4u) + pair / 2u);
      let turn = select(pairs.xy, pairs.zw, pair % 2u == 1u);
      result[c] = value[c] * turn.x + select(other, -other, first) * turn.y;
    }
  }
  return result;
}
