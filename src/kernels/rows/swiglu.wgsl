// SwiGLU: hidden = silu(gate) * up, silu(z) = z / (1 + exp(-z)).                      Shazeer 2020, arXiv:2002.05202
//
// One row of workgroups a token; its lanes stride over it, four numbers each. Memory: registers.
override F: u32;       // width, a multiple of 4
override STRIDE: u32;  // numbers from a token to the next in gate_up
override LANES: u32 = 32;

@group(0) @binding(0) var<storage, read> gate_up: array<vec4f>;       // [T, 2, F] in rows of STRIDE
@group(0) @binding(1) var<storage, read_write> hidden: array<vec4f>;  // [T, F], rows padded to whole chunks

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  for (var i = group.x * LANES + lane; i < F / 4u; i += groups.x * LANES) {
    let at = group.y * (STRIDE / 4u) + i;
    let z = gate_up[at];
    // exp overflows below -88; silu is zero to f32 long before.
    hidden[group.y * ((F + 31u) / 32u * 8u) + i] = z / (1.0 + exp(-max(z, vec4f(-80.0)))) * gate_up[at + F / 4u];
  }
}
