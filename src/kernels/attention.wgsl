// Attention over pages with online softmax: the one path, for prefill and for decoding.
//                                               Dao et al. 2022, arXiv:2205.14135; Kwon et al. 2023, arXiv:2309.06180
// A key at position j is visible from a query at position t iff  j <= t  and  (j < sinks  or  t - j < window).
//
// A workgroup takes four query rows of one key/value head (heads of a group, then tokens: they share the pages) and a
// range of slots of the page table. The four rows travel as the components of a vec4. Per tile of LANES slots: lane i
// computes the scores of slot i; then lanes regroup, E/4 of them across the width of the values, to add up the tile.
// The partial state (m, l, o) of the range goes out, and `attention-merge` joins the ranges. Appended: cells and keys.
// Memory: two rotations of four queries, the tile's weights and addresses, and one mat4x4 a lane.
override H: u32;      // query heads
override G: u32;      // key/value heads
override E: u32;      // head width
override P: u32;      // tokens a page
override LANES: u32;  // power of two, at least E/4
const ROWS = 4u;
const HIDDEN = -1e30;  // stands for minus infinity, which WGSL need not honour
struct Params {
  tokens: u32,  // T
  start: u32,   // position of the first token of the step
  slots: u32,   // slots of the page table
  slots_per_split: u32,
  splits: u32,
  sinks: u32,
  window: u32,  // counts the query itself
}

@group(0) @binding(0) var<storage, read> queries: array<vec4f>;           // [T, 2, H, E/4] scaled: for the window, for the sinks
@group(0) @binding(1) var<storage, read> k_pages: array<Cell>;            // [N, G, P, E/4]
@group(0) @binding(2) var<storage, read> v_pages: array<Cell>;            // [N, G, P, E/4]
@group(0) @binding(3) var<storage, read> page_table: array<vec2<u32>>;    // [pages] (physical page, first position), ascending
@group(0) @binding(4) var<storage, read_write> outputs: array<vec4f>;     // [T, H, splits, E/4] not yet divided by l
@group(0) @binding(5) var<storage, read_write> states: array<vec2f>;      // [T, H, splits] (m, l)
@group(0) @binding(6) var<uniform> params: Params;

var<workgroup> q: array<mat4x4f, E / 2>;           // [2, E/4] a column a row
var<workgroup> tile_weights: array<vec4f, LANES>;  // exp(score - m), a component a row
var<workgroup> tile_cells: array<u32, LANES>;      // first cell of the slot
var<workgroup> lane_outputs: array<mat4x4f, LANES>;

fn position_of(slot: u32) -> u32 {
  return page_table[slot / P].y + slot % P;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let strip = E / 4u;
  let share = H / G;
  let row = vec4<u32>(group.x * ROWS) + vec4<u32>(0u, 1u, 2u, 3u);
  let used = row < vec4<u32>(params.tokens * share);
  let token = min(row / share, vec4<u32>(params.tokens - 1u));
  let head = group.y * share + row % share;
  let at = vec4<u32>(params.start) + token;
  for (var i = lane; i < 2u * strip; i += LANES) {
    for (var r = 0u; r < ROWS; r++) {
      q[i][r] = queries[((token[r] * 2u + i / strip) * H + head[r]) * strip + i % strip];
    }
  }
  workgroupBarrier();

  var m = vec4f(HIDDEN);
  var l = vec4f();      // of this lane's slots
  var o = mat4x4f();    // of this lane's four numbers of the width, a column a row
  let strips = LANES / strip;
  let end = min((group.z + 1u) * params.slots_per_split, params.slots);
  for (var tile = group.z * params.slots_per_split; tile < end; tile += LANES) {
    let nearest = position_of(tile);
    let farthest = position_of(min(tile + LANES, end) - 1u);
    if (nearest > at[3]) {
      break;  // positions ascend: nothing of the rest is visible
    }
    if (nearest >= params.sinks && at[0] - min(at[0], farthest) >= params.window) {
      continue;  // the whole tile has left the window
    }
    let slot = min(tile + lane, end - 1u);
    let position = position_of(slot);
    let cells = ((page_table[slot / P].x * G + group.y) * P + slot % P) * strip;
    let side = select(0u, strip, position < params.sinks);
    let near = (at - position < vec4<u32>(params.window)) | vec4<bool>(position < params.sinks);
    let visible = (vec4<u32>(position) <= at) & near & used & vec4<bool>(tile + lane < end);
    var scores = vec4f();
    for (var i = 0u; i < select(0u, strip, any(visible)); i++) {  // no constant bound: Mesa would unroll it, for seconds
      scores += key_numbers(cells, i, slot) * q[side + i];  // four dot products
    }
    scores = select(vec4f(HIDDEN), scores, visible);
    let largest = max(m, max_lanes(scores, lane));
    let fade = exp(m - largest);
    let weights = select(vec4f(), exp(scores - largest), visible);
    m = largest;
    l = l * fade + weights;
    o = mat4x4f(fade.x * o[0], fade.y * o[1], fade.z * o[2], fade.w * o[3]);
    tile_weights[lane] = weights;
    tile_cells[lane] = cells;
    workgroupBarrier();
    if (lane < strips * strip) {
      for (var i = lane / strip; i < LANES; i += strips) {
        let weight = tile_weights[i];
        if (any(weight != vec4f())) {
          let v = unpack_cell(v_pages[tile_cells[i] + lane % strip]);
          o += mat4x4f(weight.x * v, weight.y * v, weight.z * v, weight.w * v);
        }
      }
    }
    workgroupBarrier();
  }

  l = sum_lanes(l, lane);
  lane_outputs[lane] = o;
  workgroupBarrier();
  for (var r = 0u; r < ROWS; r++) {
    let to = (token[r] * H + head[r]) * params.splits + group.z;
    if (used[r] && lane < strip) {
      var output = vec4f();
      for (var i = lane; i < strips * strip; i += strip) {
        output += lane_outputs[i][r];
      }
      outputs[to * strip + lane] = output;
      states[to] = vec2f(m[r], l[r]);
    }
  }
}
