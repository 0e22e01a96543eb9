// Attention over pages with online softmax: the one path, for prefill and for decoding.
//                             Dao et al. 2022, arXiv:2205.14135; Kwon et al. 2023, arXiv:2309.06180
// Key j is visible from query t  iff  j <= t  and  (j < sinks  or  t - j < window); encoders see both
// ways.
//
// A workgroup takes ROWS query rows of one key/value head (heads of a group, then tokens of one
// text: they share the pages) and the slots of an item of work. Lanes lie across the width of a
// head: each holds its cells of the queries and of the outputs in registers, loads its cells of a
// key, and the dot products meet in `sum_lanes`. So every key and every value is loaded once for
// all rows, by neighbouring lanes from neighbouring cells. If the keys of a token are split into
// ranges, the partial state (m, l, o) of each goes out for `attention-merge` to join. Appended:
// cells, queries, keys, scores, sight, work and a reduction. Memory: registers, two mat4x4 for every cell of a
// lane.
override H: u32;       // query heads
override G: u32;       // key/value heads
override E: u32;       // head width
override P: u32;       // tokens a page
override STRIDE: u32;  // numbers from a token to the next in x
override LANES: u32;   // power of two, at least E/32
override ROWS: u32 = 4;  // at most 4: fewer if there are fewer, for a single token of few heads a group
const MAX_CELLS = 8u;    // of a lane
const HIDDEN = -1e30;    // stands for minus infinity, which WGSL need not honour

@group(0) @binding(4) var<storage, read_write> partial: array<vec4f>;  // [rows, H, E/4 + 1] o undivided, and (m, l)
@group(0) @binding(6) var<storage, read_write> x: array<vec4f>;        // [T, H, E/4] of tokens whose keys are one range

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let strip = E / 4u;
  let words = strip / BLOCK_CELLS * BLOCK_WORDS;  // of a key
  let rounds = (strip + LANES - 1u) / LANES;  // cells of a lane
  let even = strip % LANES == 0u;  // all lanes have as many
  let share = H / G;
  let own = vec4<u32>(0u, 1u, 2u, 3u);
  let item = work[group.x];
  let row = vec4<u32>(group.z * ROWS) + own;
  let used = (row < vec4<u32>(item.tokens * share)) & (own < vec4<u32>(ROWS));
  if (!used[0]) {
    return;
  }
  let token = min(row / share, vec4<u32>(item.tokens - 1u));
  let head = group.y * share + row % share;
  let at = vec4<u32>(item.start) + token;
  store_token(item, group.y, lane);

  var m = vec4f(HIDDEN);
  var l = vec4f();
  var o: array<mat4x4f, MAX_CELLS>;  // a column a row
  // First the sinks, which are the first slots and are met by queries of their own; then the
  // window.
  for (var side = select(0u, 1u, item.begin < item.sinks); side < 2u; side--) {  // 1, then 0
    var q = array<mat4x4f, MAX_CELLS>();
    for (var c = 0u; c < rounds; c++) {
      let i = c * LANES + lane;
      if (!even && i >= strip) {
        continue;
      }
      for (var r = 0u; r < ROWS; r++) {
        q[c][r] = query_cell(item.token + token[r], side, head[r], i);
      }
    }
    let first = select(max(item.begin, item.sinks), item.begin, side == 1u);
    let last = select(item.end, min(item.end, item.sinks), side == 1u);
    let window = select(item.window, 0xffffffffu, side == 1u);
    var page = vec2<u32>();
    for (var slot = first; slot < last; slot++) {
      if (slot == first || slot % P == 0u) {
        page = page_table[item.table + slot / P];
      }
      let position = page.y + slot % P;
      if (position > last_seen(at[3])) {
        break;  // positions ascend: nothing of the rest is visible
      }
      let visible = sees(at, position, window) & used;
      if (!any(visible)) {
        continue;
      }
      let cells = ((page.x * G + group.y) * P + slot % P) * words;
      var scores = vec4f();
      for (var c = 0u; c < rounds; c++) {
        let i = c * LANES + lane;
        if (!even && i >= strip) {
          continue;
        }
        let key = key_numbers(cells, i, page.x * P + slot % P);
        for (var r = 0u; r < ROWS; r++) {
          scores[r] += dot(key, q[c][r]);
        }
      }
      scores = select(vec4f(HIDDEN), score_of(sum_lanes(scores, lane)), visible);
      let largest = max(m, scores);
      let fade = exp(m - largest);
      let weights = select(vec4f(), exp(scores - largest), visible);
      m = largest;
      l = l * fade + weights;
      for (var c = 0u; c < rounds; c++) {
        let i = c * LANES + lane;
        if (!even && i >= strip) {
          continue;
        }
        let v = unpack_cell(v_pages[cells + word_of(i)], v_pages[cells + scale_of(i)], i);
        for (var r = 0u; r < ROWS; r++) {
          o[c][r] = o[c][r] * fade[r] + weights[r] * v;
        }
      }
    }
  }

  for (var r = 0u; r < ROWS; r++) {
    if (!used[r]) {
      continue;
    }
    let whole = item.ways == 1u;
    let divisor = select(1.0, l[r], whole);
    let to = (item.token + token[r]) * (STRIDE / 4u) + head[r] * strip;
    let out = ((item.out + token[r] * item.ways) * H + head[r]) * (strip + 1u);
    for (var c = 0u; c < rounds; c++) {  // cell by cell as above, so that o stays in registers
      let i = c * LANES + lane;
      if (!even && i >= strip) {
        continue;
      }
      let value = o[c][r] / divisor;
      if (whole) {
        x[to + i] = value;
      } else {
        partial[out + i] = value;
      }
    }
    if (!whole && lane == 0u) {
      partial[out + strip] = vec4f(m[r], l[r], 0.0, 0.0);
    }
  }
}
