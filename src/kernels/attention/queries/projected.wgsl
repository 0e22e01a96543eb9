// The queries of a single token as projected: they are rotated when they are read, and the
// workgroup that attends also stores the token's key and value. The lane that stores a cell also
// loads it, so no barrier is needed. This takes kv types whose blocks are single cells, and
// workgroups that have all queries of a key/value head. Needs `step-rotations` and a rotation.
override SCALE: f32;  // of queries: 1 / sqrt(E)

@group(0) @binding(0) var<storage, read> qk: array<vec4f>;            // [H + 2 G, E/4]
@group(0) @binding(1) var<storage, read_write> k_pages: array<Word>;  // [N, G, P, words of a head]
@group(0) @binding(2) var<storage, read_write> v_pages: array<Word>;  // [N, G, P, words of a head]
@group(0) @binding(8) var<storage, read> rotations: array<vec4f>;         // [3, E/4] (cos, sin) of two pairs: window, sinks, key

// Stores the token of the step if its slot, the last that it sees, is one of the item's.
fn store_token(item: Item, group: u32, lane: u32) {
  let slot = max(item.end, 1u) - 1u;
  let page = page_table[item.table + slot / P];
  let place = slot % P;
  let mine = item.begin < item.end && page.y + place == item.start;
  let to = ((page.x * G + group) * P + place) * (E / 4u);
  for (var i = lane; mine && i < E / 4u; i += LANES) {
    k_pages[to + i] = pack_block(array(rotated((H + group) * (E / 4u), i, 2u)))[0];
    v_pages[to + i] = pack_block(array(qk[(H + G + group) * (E / 4u) + i]))[0];
  }
}

// Four numbers of a query, for the window (side 0) or for the sinks.
fn query_cell(_token: u32, side: u32, head: u32, i: u32) -> vec4f {
  return SCALE * rotated(head * (E / 4u), i, side);
}
