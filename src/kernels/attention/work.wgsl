// The work of attention, as work.ts makes it: an item a workgroup, and the pages of all texts, by
// ascending positions in each. Appended.
struct Item {
  token: u32,   // the first of its tokens in the step
  tokens: u32,  // of one text; 0: there is nothing to do
  start: u32,   // text position of the first
  table: u32,   // where the pages of its text begin in `page_table`
  begin: u32,   // slots of these pages that it meets: from begin to end - 1
  end: u32,
  sinks: u32,
  window: u32,  // counts the query itself
  out: u32,     // partial row of the first token; that of the next is `ways` further
  ways: u32,    // ranges that the keys of each token are split into; 1: nothing is left to merge
}

@group(0) @binding(3) var<storage, read> page_table: array<vec2<u32>>;  // [pages] (physical page, first position)
@group(0) @binding(7) var<storage, read> work: array<Item>;
