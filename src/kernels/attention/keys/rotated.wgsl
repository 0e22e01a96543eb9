// Keys as the cache usually holds them: rotated once, when they were written, at their text
// position.

// Four numbers of the key whose cells begin at `cells`.
fn key_numbers(cells: u32, i: u32, _row: u32) -> vec4f {
  return unpack_cell(k_pages[cells + word_of(i)], k_pages[cells + scale_of(i)], i);
}
