// x[t] = W[token[t]]: rows of the packed embedding table, decoded.
//
// One lane a chunk of 32 numbers, one row of workgroups a token. Where the table is split over several bindings, each
// part is dispatched and writes only the tokens whose rows it holds. Memory: registers.
override N: u32;          // rows of this part of the table
override K: u32;          // width of a row
override FIRST: u32 = 0;  // first token id of this part
override LANES: u32 = 32;

@group(0) @binding(0) var<storage, read> tokens: array<u32>;       // [T]
@group(0) @binding(1) var<storage, read_write> x: array<vec4f>;    // [T, K], rows padded to whole chunks

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let chunk = group.x * LANES + lane;
  let token = tokens[group.y];
  if (chunk < chunks() && token >= FIRST && token - FIRST < N) {
    let w = weights(token - FIRST, chunk);
    for (var i = 0u; i < 8u; i++) {
      if (chunk * CHUNK + 4u * i < K) {
        x[(group.y * chunks() + chunk) * 8u + i] = w[i];
      }
    }
  }
}
