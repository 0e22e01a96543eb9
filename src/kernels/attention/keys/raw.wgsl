// Keys that are stored raw and rotated when they are read: for frequencies that change as the text
// grows (dynamic NTK), and to test the usual mode against. Needs a rotation.
@group(0) @binding(8) var<storage, read> key_rotations: array<vec4f>;  // [N P, E/4] (cos, sin) of two pairs, of the token in each slot

// Four numbers of the key whose cells begin at `origin`, as stored.
fn unrotated(origin: u32, cell: u32) -> vec4f {
  return unpack_cell(k_pages[origin + word_of(cell)], k_pages[origin + scale_of(cell)], cell);
}

fn rotation(i: u32) -> vec4f {
  return key_rotations[i];
}

// The same, rotated by its text position. `row` is its slot among those of all pages.
fn key_numbers(cells: u32, i: u32, row: u32) -> vec4f {
  return rotated(cells, i, row);
}
