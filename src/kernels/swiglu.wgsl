// SwiGLU: hidden = silu(gate) * up, silu(z) = z / (1 + exp(-z)).                      Shazeer 2020, arXiv:2002.05202
//
// One lane four numbers, one row of workgroups a token. Memory: registers.
override F: u32;       // width, a multiple of 4
override STRIDE: u32;  // numbers from a token to the next in gate_up
override LANES: u32 = 32;

@group(0) @binding(0) var<storage, read> gate_up: array<vec4f>;       // [T, 2, F] in rows of STRIDE
@group(0) @binding(1) var<storage, read_write> hidden: array<vec4f>;  // [T, F], rows padded to whole chunks

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = group.x * LANES + lane;
  if (i < F / 4u) {
    let at = group.y * (STRIDE / 4u) + i;
    let z = gate_up[at];
    // exp overflows below -88; silu is zero to f32 long before.
    hidden[group.y * ((F + 31u) / 32u * 8u) + i] = z / (1.0 + exp(-max(z, vec4f(-80.0)))) * gate_up[at + F / 4u];
  }
}
