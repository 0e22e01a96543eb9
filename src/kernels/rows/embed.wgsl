// x[t] = SCALE * W[token[t]], or x[t] += it: rows of the packed embedding table, decoded. A token may be one that
// the step before has chosen, whose id never left the GPU.
//
// One lane a chunk of 32 numbers, one row of workgroups a token. If the table is split over several
// bindings, each part is dispatched and writes only the tokens whose rows it holds. Memory:
// registers.
override SCALE: f32 = 1.0;
override ADD: u32 = 0;    // 1: to what is in x
override LANES: u32 = 32;
const CHOSEN = 0x80000000u;

@group(0) @binding(0) var<storage, read> tokens: array<u32>;           // [T] ids, or CHOSEN and a place in `choices`
@group(0) @binding(1) var<storage, read_write> x: array<vec4f>;        // [T, K], rows padded to whole chunks
@group(0) @binding(2) var<storage, read> choices: array<vec2<u32>>;    // [choices] the id, its log-probability

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let chunk = group.x * LANES + lane;
  let given = tokens[group.y];
  let token = select(given, choices[given & ~CHOSEN].x, (given & CHOSEN) != 0u);
  let row = token - matrix.first;  // wraps far beyond any row where the token comes before this part
  if (chunk < matrix.chunks && row < matrix.rows) {
    let w = weights(row, chunk);
    for (var i = 0u; i < 8u; i++) {
      if (chunk * 32u + 4u * i < matrix.columns) {
        let at = (group.y * matrix.chunks + chunk) * 8u + i;
        if (ADD == 1u) {
          x[at] += SCALE * w[i];
        } else {
          x[at] = SCALE * w[i];
        }
      }
    }
  }
}
