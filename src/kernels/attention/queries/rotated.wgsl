// Queries as `rope-store` leaves them, of tokens whose keys and values it has stored.
@group(0) @binding(0) var<storage, read> queries: array<vec4f>;  // [T, 2, H, E/4] scaled: for the window, for the sinks
@group(0) @binding(1) var<storage, read> k_pages: array<Word>;   // [N, G, P, words of a head]
@group(0) @binding(2) var<storage, read> v_pages: array<Word>;   // [N, G, P, words of a head]

fn store_token(_item: Item, _group: u32, _lane: u32) {}

// Four numbers of a query, for the window (side 0) or for the sinks.
fn query_cell(token: u32, side: u32, head: u32, i: u32) -> vec4f {
  return queries[((token * 2u + side) * H + head) * (E / 4u) + i];
}
