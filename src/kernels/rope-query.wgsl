// Queries, scaled and rotated twice. Keys are rotated once, at their text position, and never again; a query t meets
// the window at its own position, and the sinks at min(t, S + W - 1), which is where StreamingLLM's re-assigned cache
// positions put it. Scores depend on distances only, so this equals moving every key.      Xiao et al. 2024, arXiv:2309.17453
//
// One lane a number, one row of workgroups a token. Memory: registers.
override H: u32;       // query heads
override E: u32;       // head width
override GAP: u32;     // distance of the two numbers of a pair
override STRIDE: u32;  // numbers from a token to the next in q
override SCALE: f32;   // 1 / sqrt(E)
override LANES: u32 = 32;

@group(0) @binding(0) var<storage, read> q: array<f32>;                // [T, H, E]
@group(0) @binding(1) var<storage, read> turns: array<vec2f>;          // [2, T, E/2] (cos, sin): window, then sinks
@group(0) @binding(2) var<storage, read_write> rotated: array<f32>;    // [T, 2, H, E]: for the window, for the sinks

struct Params {
  tokens: u32,  // T
}
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = group.x * LANES + lane;
  let t = group.y;
  if (i < H * E) {
    let e = i % E;
    let origin = t * STRIDE + i - e;
    let value = q[origin + e] * SCALE;
    let other = q[origin + partner(e)] * SCALE;
    for (var side = 0u; side < 2u; side++) {
      let turn = turns[(side * params.tokens + t) * (E / 2u) + pair_of(e)];
      rotated[(t * 2u + side) * H * E + i] = rotate(e, value, other, turn);
    }
  }
}
