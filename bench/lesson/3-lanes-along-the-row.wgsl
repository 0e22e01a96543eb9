// Version 2, but the lanes of a workgroup share a row: neighbours take neighbouring chunks, so what a graphics card loads
// for one of them serves the others, and their sums meet in the end.
// Of memory it reads what version 2 does, in another order. Appended: the format, a reduction.
@group(0) @binding(0) var<storage, read> x: array<vec4f>;      // [K/4]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [N]

override LANES: u32 = 8;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  var sum = vec4f();
  for (var chunk = lane; chunk < matrix.chunks; chunk += LANES) {
    let w = weights(row, chunk);
    for (var i = 0u; i < 8u; i++) {
      sum += w[i] * x[chunk * 8u + i];
    }
  }
  let total = sum_lanes(sum, lane);
  if (lane == 0u) {
    y[row] = dot(total, vec4f(1.0));
  }
}
