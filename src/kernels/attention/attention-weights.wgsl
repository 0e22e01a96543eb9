// The weights of attention, which `attention` never stores: softmax of the queries of one text of a
// step over the slots of its pages, 0 for keys that a query does not see. For display; the forward
// pass does not use it.
// Key j is visible from query t  iff  j <= t  and  (j < sinks  or  t - j < window).
//
// A workgroup takes one head of one token. Lane i writes the scores of slots i, i + LANES, ... and
// keeps the largest and the sum of exponentials; when all lanes agree on both, each turns what it
// wrote into weights. Memory: registers. Appended: cells, keys, scores, work
// (one item) and a reduction.
override H: u32;      // query heads
override G: u32;      // key/value heads
override E: u32;      // head width
override P: u32;      // tokens a page
override LANES: u32;  // power of two
const HIDDEN = -1e30;  // stands for minus infinity, which WGSL need not honour

@group(0) @binding(0) var<storage, read> queries: array<vec4f>;      // [T, 2, H, E/4] scaled: for the window, for the sinks
@group(0) @binding(1) var<storage, read> k_pages: array<Word>;       // [N, G, P, words of a head]
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;  // [tokens, H, slots]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = work[0];
  if (group.y >= item.tokens) {
    return;
  }
  let slots = item.end;
  let strip = select(0u, E / 4u, slots > 0u);  // not constant, or Mesa unrolls the loop
  let head = group.x;
  let at = item.start + group.y;
  let first = (group.y * H + head) * slots;
  var m = HIDDEN;
  var l = 0.0;
  for (var slot = lane; slot < slots; slot += LANES) {
    let page = page_table[item.table + slot / P];
    let position = page.y + slot % P;
    let sink = position < item.sinks;
    var score = HIDDEN;
    if (sees(vec4<u32>(at), position, select(item.window, 0xffffffffu, sink)).x) {
      let cells = ((page.x * G + head / (H / G)) * P + slot % P) * (strip / BLOCK_CELLS * BLOCK_WORDS);
      let query = (((item.token + group.y) * 2u + select(0u, 1u, sink)) * H + head) * strip;
      score = 0.0;
      for (var i = 0u; i < strip; i++) {
        score += dot(key_numbers(cells, i, page.x * P + slot % P), queries[query + i]);
      }
      score = score_of(vec4f(score)).x;
      let largest = max(m, score);
      l = l * exp(m - largest) + exp(score - largest);
      m = largest;
    }
    weights[first + slot] = score;
  }

  let largest = max_lanes(vec4f(m), lane).x;
  let total = sum_lanes(vec4f(l * exp(m - largest)), lane).x;
  for (var slot = lane; slot < slots; slot += LANES) {
    let score = weights[first + slot];
    weights[first + slot] = select(exp(score - largest) / total, 0.0, score == HIDDEN);
  }
}
