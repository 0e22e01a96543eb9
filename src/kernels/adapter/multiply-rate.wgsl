// Measures how fast an adapter can multiply and add: without loads in the loop, and without
// dependence between lanes.
//
// Each lane keeps two chains of multiply-adds, four numbers each: eight independent operations hide
// the latency of each, and still fit the registers of a processor. A step does UNROLLED of each, so
// that the loop itself costs little. The factors come from memory, so that a compiler cannot
// multiply in advance. With a factor of one and small whole numbers to add, every sum is exact: the
// result proves that all steps were computed. Memory: registers.
override LANES: u32 = 32;
const UNROLLED = 16u;

struct Params {
  steps: u32,
}

@group(0) @binding(0) var<storage, read> factors: array<vec4f>;      // [2]: multiplied with, added
@group(0) @binding(1) var<storage, read_write> sums: array<vec4f>;   // [groups * LANES]
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let m = factors[0];
  let b = factors[1];
  var c0 = vec4f(0.0);
  var c1 = vec4f(1.0);
  for (var step = 0u; step < params.steps; step++) {
    for (var i = 0u; i < UNROLLED; i++) {
      c0 = c0 * m + b;
      c1 = c1 * m + b;
    }
  }
  sums[group.x * LANES + lane] = c0 + c1;
}
