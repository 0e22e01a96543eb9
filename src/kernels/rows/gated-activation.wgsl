// The hidden numbers of a gated feed-forward: hidden = activation(gate) * up.
//                                                                    Shazeer 2020, arXiv:2002.05202
// The activation function is a fragment of this folder, `silu` for SwiGLU.
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
    hidden[group.y * ((F + 31u) / 32u * 8u) + i] = activation(gate_up[at]) * gate_up[at + F / 4u];
  }
}
