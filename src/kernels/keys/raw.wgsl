// Keys that were stored without rotation, and turn while they are read: for frequencies that move as the text grows
// (dynamic NTK), and as the oracle of the usual mode. Needs `rotate`.
override GAP: u32;  // distance of the two numbers of a pair

@group(0) @binding(8) var<storage, read> key_turns: array<vec2f>;  // [N P, E/2] (cos, sin) of the token in each slot

// The same before it turns.
fn stored_numbers(cells: u32, i: u32) -> vec4f {
  return unpack_cell(k_pages[cells + word_of(i)], k_pages[cells + scale_of(i)], i);
}

// Four numbers of the key at `slot`, whose cells begin at `cells`, turned to its text position.
fn key_numbers(cells: u32, i: u32, slot: u32) -> vec4f {
  let value = stored_numbers(cells, i);
  // The other numbers of the pairs are neighbours, or lie half a head away.
  var other = value.yxwz;
  if (GAP > 1u) {
    other = stored_numbers(cells, (i + E / 8u) % (E / 4u));
  }
  let turns = (page_table[slot / P].x * P + slot % P) * (E / 2u);
  var key = vec4f();
  for (var c = 0u; c < 4u; c++) {
    let e = 4u * i + c;
    key[c] = rotate(e, value[c], other[c], key_turns[turns + pair_of(e)]);
  }
  return key;
}
