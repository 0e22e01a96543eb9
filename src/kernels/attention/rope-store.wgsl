// Rotates queries and keys, and stores keys and values in their pages. A key is rotated once, at
// its text position; a query is rotated twice: for the window at its own position t, for the sinks
// at min(t, S + W - 1), which is where StreamingLLM's re-assigned cache positions put it. Scores
// depend on distances only, so this equals moving every key.     Xiao et al. 2024, arXiv:2309.17453
//
// One row of workgroups a token; its lanes stride over the query heads, four numbers each, then
// over the key/value heads, a block each: the cells that `pack_block` packs together. If keys are
// stored raw, their rotations are all (1, 0). Appended: cells, `step-rotations`, a rotation and
// `query-norms/`. Memory: registers.
override H: u32;       // query heads
override G: u32;       // key/value heads
override E: u32;       // head width
override P: u32;       // tokens a page
override SCALE: f32;   // of queries: 1 / sqrt(E)
override STRIDE: u32;  // numbers from a token to the next in qk and qkv
override LANES: u32 = 32;

struct Params {
  tokens: u32,  // T
}

@group(0) @binding(0) var<storage, read> qk: array<vec4f>;              // [T, H + G, E/4] in rows of STRIDE
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;             // [T, H + 2 G, E/4] in rows of STRIDE
@group(0) @binding(2) var<storage, read> rotations: array<vec4f>;           // [3, T, E/4] (cos, sin) of two pairs: window, sinks, keys
@group(0) @binding(3) var<storage, read> slots: array<u32>;             // [T] page * P + place in the page
@group(0) @binding(4) var<storage, read_write> queries: array<vec4f>;   // [T, 2, H, E/4] rotated: for the window, for the sinks
@group(0) @binding(5) var<storage, read_write> k_pages: array<Word>;    // [N, G, P, words of a head]
@group(0) @binding(6) var<storage, read_write> v_pages: array<Word>;    // [N, G, P, words of a head]
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let t = group.y;
  let strip = E / 4u;
  let query_cells = H * strip;
  let blocks = strip / BLOCK_CELLS;  // of a key
  // Cells of a block. Not a constant if several, or Mesa would unroll the loop, for seconds.
  let cells = select(0u, BLOCK_CELLS, BLOCK_CELLS == 1u || params.tokens > 0u);
  for (var i = group.x * LANES + lane; i < query_cells + G * blocks; i += groups.x * LANES) {
    if (i < query_cells) {
      let origin = t * (STRIDE / 4u) + i / strip * strip;
      for (var side = 0u; side < 2u; side++) {
        let query = rotated(origin, i % strip, side * params.tokens + t);
        queries[(t * 2u + side) * query_cells + i] = SCALE * normed_query(query, i % strip);
      }
    } else {
      let head = (i - query_cells) / blocks;
      let block = (i - query_cells) % blocks;
      let origin = t * (STRIDE / 4u) + (H + head) * strip;
      var key = array<vec4f, BLOCK_CELLS>();
      var value = array<vec4f, BLOCK_CELLS>();
      for (var c = 0u; c < cells; c++) {
        let cell = block * BLOCK_CELLS + c;
        key[c] = rotated(origin, cell, 2u * params.tokens + t);
        value[c] = qkv[origin + G * strip + cell];
      }
      let slot = slots[t];
      let to = (((slot / P * G + head) * P + slot % P) * blocks + block) * BLOCK_WORDS;
      let key_words = pack_block(key);
      let value_words = pack_block(value);
      for (var w = 0u; w < BLOCK_WORDS; w++) {
        k_pages[to + w] = key_words[w];
        v_pages[to + w] = value_words[w];
      }
    }
  }
}
