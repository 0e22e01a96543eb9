// Keys that are stored raw and rotated when they are read: for frequencies that change as the text
// grows (dynamic NTK), and to test the usual mode against. Needs `rotate`.
@group(0) @binding(8) var<storage, read> key_rotations: array<vec4f>;  // [N P, E/4] (cos, sin) of two pairs, of the token in each slot

// The same numbers before rotation.
fn stored_numbers(cells: u32, i: u32) -> vec4f {
  return unpack_cell(k_pages[cells + word_of(i)], k_pages[cells + scale_of(i)], i);
}

// Four numbers of the key whose cells begin at `cells`, rotated by its text position. `row` is its
// slot among those of all pages.
fn key_numbers(cells: u32, i: u32, row: u32) -> vec4f {
  let at = row * (E / 4u) + rotations_of(i);
  let other = stored_numbers(cells, other_cell(i));
  return rotate(i, stored_numbers(cells, i), other, key_rotations[at.x], key_rotations[at.y]);
}
