// y[t] += SCALE * x[t].
//
// One lane four numbers, one row of workgroups a token. Memory: registers.
override N: u32;       // width
override STRIDE: u32;  // numbers from a token to the next, in x and in y
override SCALE: f32;
override LANES: u32 = 32;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;        // [T, N], rows padded
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;  // [T, N], rows padded

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = group.x * LANES + lane;
  if (i < (N + 3u) / 4u) {
    let at = group.y * (STRIDE / 4u) + i;
    y[at] += SCALE * x[at];
  }
}
