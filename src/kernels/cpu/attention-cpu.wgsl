// Attention as `attention`, for long pieces of a text on adapters that are CPUs: there an exchange
// between lanes costs as much as arithmetic, and a load costs more.
//
// A workgroup is one subgroup of eight lanes and takes 32 query rows of one key/value head (heads of
// a group, then tokens of one text). Each lane has four rows for itself, so no sums have to meet. Of
// a key the lanes load a cell each and hand it to all: what is loaded and unpacked serves 32 rows.
// Outputs fade only when a larger score is met, which becomes rare as keys pass. Appended: cells,
// queries, keys, scores, sight and work. Memory: registers, as many as there are; the rest is the stack.
//                                                          Dao et al. 2022, arXiv:2205.14135
enable subgroups;
override H: u32;       // query heads
override G: u32;       // key/value heads
override E: u32;       // head width, at most 4 MAX_CELLS
override P: u32;       // tokens a page
override STRIDE: u32;  // numbers from a token to the next in x
const LANES = 8u;
const MAX_CELLS = 32u;  // of a head
const ROWS = 4u;        // of a lane
const HIDDEN = -1e30;   // stands for minus infinity, which WGSL need not honour

@group(0) @binding(4) var<storage, read_write> partial: array<vec4f>;  // [rows, H, E/4 + 1] o undivided, and (m, l)
@group(0) @binding(6) var<storage, read_write> x: array<vec4f>;        // [T, H, E/4] of tokens whose keys are one range

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let strip = E / 4u;
  let words = strip / BLOCK_CELLS * BLOCK_WORDS;  // of a key
  let rounds = (strip + LANES - 1u) / LANES;  // cells of a lane
  let share = H / G;
  let item = work[group.x];
  // Cells of a head. Not a constant, or Mesa would unroll loops of loads, for seconds.
  let loaded = select(0u, strip, item.tokens > 0u);
  let row = vec4<u32>(0u, 1u, 2u, 3u) * LANES + lane;
  let used = row < vec4<u32>(item.tokens * share);
  let token = min(row / share, vec4<u32>(max(item.tokens, 1u) - 1u));
  let head = group.y * share + row % share;
  let at = vec4<u32>(item.start) + token;
  let latest = last_seen(item.start + item.tokens - 1u);

  var m = vec4f(HIDDEN);
  var l = vec4f();
  var o: array<vec4f, MAX_CELLS * ROWS>;
  // First the sinks, which are the first slots and are met by queries of their own; then the
  // window.
  for (var side = select(0u, 1u, item.begin < item.sinks); side < 2u; side--) {  // 1, then 0
    var q = array<vec4f, MAX_CELLS * ROWS>();  // zero beyond the head
    for (var i = 0u; i < loaded; i++) {
      for (var r = 0u; r < ROWS; r++) {
        q[i * ROWS + r] = query_cell(item.token + token[r], side, head[r], i);
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
      if (position > latest) {
        break;  // positions ascend: nothing of the rest is visible
      }
      let visible = sees(at, position, window) & used;
      let cells = ((page.x * G + group.y) * P + slot % P) * words;
      var scores = vec4f();
      for (var c = 0u; c < rounds; c++) {
        let own = key_numbers(cells, min(c * LANES + lane, strip - 1u), page.x * P + slot % P);
        var halves = array<vec4f, 2>();  // of the cells of a round
        for (var k = 0u; k < LANES; k++) {
          let key = subgroupShuffle(own, k);
          for (var r = 0u; r < ROWS; r++) {
            halves[k >> 2u][r] += dot(key, q[(c * LANES + k) * ROWS + r]);
          }
        }
        scores += halves[0] + halves[1];
      }
      scores = select(vec4f(HIDDEN), score_of(scores), visible);
      if (any(scores > m)) {
        let largest = max(m, scores);
        let fade = exp(m - largest);
        m = largest;
        l *= fade;
        for (var i = 0u; i < rounds * LANES; i++) {
          for (var r = 0u; r < ROWS; r++) {
            o[i * ROWS + r] *= fade[r];
          }
        }
      }
      let weights = select(vec4f(), exp(scores - m), visible);
      l += weights;
      for (var c = 0u; c < rounds; c++) {
        let cell = min(c * LANES + lane, strip - 1u);
        let own = unpack_cell(v_pages[cells + word_of(cell)], v_pages[cells + scale_of(cell)], cell);
        for (var k = 0u; k < LANES; k++) {
          let value = subgroupShuffle(own, k);
          for (var r = 0u; r < ROWS; r++) {
            o[(c * LANES + k) * ROWS + r] += weights[r] * value;
          }
        }
      }
    }
  }

  let whole = item.ways == 1u;
  for (var r = 0u; r < ROWS; r++) {
    if (!used[r]) {
      continue;
    }
    let divisor = select(1.0, l[r], whole);
    let to = (item.token + token[r]) * (STRIDE / 4u) + head[r] * strip;
    let out = ((item.out + token[r] * item.ways) * H + head[r]) * (strip + 1u);
    for (var i = 0u; i < loaded; i++) {
      let value = o[i * ROWS + r] / divisor;
      if (whole) {
        x[to + i] = value;
      } else {
        partial[out + i] = value;
      }
    }
    if (!whole) {
      partial[out + strip] = vec4f(m[r], l[r], 0.0, 0.0);
    }
  }
}
