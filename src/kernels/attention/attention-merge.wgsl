// Joins the partial states (m, l, o) of the ranges of one token: softmax over all its keys at once.
//                                                                 Dao et al. 2023, "Flash-Decoding"
// One row of workgroups a token, lanes across heads and width, four numbers each. Memory:
// registers.
override H: u32;       // query heads
override E: u32;       // head width
override STRIDE: u32;  // numbers from a token to the next in x
override LANES: u32 = 32;

struct Merge {
  token: u32,
  row: u32,   // its first partial row
  ways: u32,  // this many
}

@group(0) @binding(0) var<storage, read> partial: array<vec4f>;  // [rows, H, E/4 + 1] o undivided, and (m, l)
@group(0) @binding(1) var<storage, read> merges: array<Merge>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4f>;  // [T, H, E/4]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = group.x * LANES + lane;
  let strip = E / 4u;
  let merge = merges[group.y];
  if (i < H * strip && merge.ways > 0u) {
    let first = (merge.row * H + i / strip) * (strip + 1u);
    let step = H * (strip + 1u);
    var m = partial[first + strip].x;
    for (var way = 1u; way < merge.ways; way++) {
      m = max(m, partial[first + way * step + strip].x);
    }
    var l = 0.0;
    var o = vec4f();
    for (var way = 0u; way < merge.ways; way++) {
      let origin = first + way * step;
      let state = partial[origin + strip];
      // A range of which the token sees nothing has l = 0, o = 0 and m at the sentinel: its weight
      // is 0, since a token sees itself elsewhere.
      let weight = exp(state.x - m);
      l += weight * state.y;
      o += weight * partial[origin + i % strip];
    }
    x[merge.token * (STRIDE / 4u) + i] = o / l;
  }
}
