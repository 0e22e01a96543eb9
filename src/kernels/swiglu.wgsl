// SwiGLU: gate = silu(gate) * up, silu(z) = z / (1 + exp(-z)), in place.             Shazeer 2020, arXiv:2002.05202
//
// One lane four numbers, one row of workgroups a token. Memory: registers.
override F: u32;       // width, a multiple of 4
override STRIDE: u32;  // numbers from a token to the next
override LANES: u32 = 32;

@group(0) @binding(0) var<storage, read> up: array<vec4f>;          // [T, F]
@group(0) @binding(1) var<storage, read_write> gate: array<vec4f>;  // [T, F]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = group.x * LANES + lane;
  if (i < F / 4u) {
    let at = group.y * (STRIDE / 4u) + i;
    let z = gate[at];
    // exp overflows below -88; silu is zero to f32 long before.
    gate[at] = z / (1.0 + exp(-max(z, vec4f(-80.0)))) * up[at];
  }
}
