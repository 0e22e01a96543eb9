// Joins the partial states (m, l, o) of the splits of one query: softmax over all slots at once.
//                                                                 Dao et al. 2023, "Flash-Decoding"
// One row of workgroups a token, lanes across heads and width, four numbers each. Memory:
// registers.
override H: u32;       // query heads
override E: u32;       // head width
override STRIDE: u32;  // numbers from a token to the next in x
override LANES: u32 = 32;

struct Params {
  splits: u32,
}

@group(0) @binding(0) var<storage, read> outputs: array<vec4f>;  // [T, H, splits, E/4] not yet divided by l
@group(0) @binding(1) var<storage, read> states: array<vec2f>;   // [T, H, splits] (m, l)
@group(0) @binding(2) var<storage, read_write> x: array<vec4f>;  // [T, H, E]
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = group.x * LANES + lane;
  let strip = E / 4u;
  if (i < H * strip) {
    let first = (group.y * H + i / strip) * params.splits;
    var m = states[first].x;
    for (var s = 1u; s < params.splits; s++) {
      m = max(m, states[first + s].x);
    }
    var l = 0.0;
    var o = vec4f();
    for (var s = 0u; s < params.splits; s++) {
      let state = states[first + s];
      // A split that saw nothing has l = 0, o = 0 and m at the sentinel: its weight is 0, since a
      // query sees itself elsewhere.
      let weight = exp(state.x - m);
      l += weight * state.y;
      o += weight * outputs[(first + s) * strip + i % strip];
    }
    x[group.y * (STRIDE / 4u) + i] = o / l;
  }
}
