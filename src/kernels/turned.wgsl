// Appended, with `rotate`, to what declares E, qk and turns.
override GAP: u32;  // distance of the two numbers of a pair

// Four numbers of the head that begins at `origin`, turned by a row of the table.
fn turned(origin: u32, cell: u32, row: u32) -> vec4f {
  var result = vec4f();
  for (var c = 0u; c < 4u; c++) {
    let e = 4u * cell + c;
    result[c] = rotate(e, qk[origin + e], qk[origin + partner(e)], turns[row * (E / 2u) + pair_of(e)]);
  }
  return result;
}
