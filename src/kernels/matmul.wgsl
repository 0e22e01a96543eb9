// Y = X W^T + BETA Y: a matrix of packed weights times the vectors of several tokens. Prefill spends its time here.
//
// A lane computes one row of W for TOKENS tokens: it decodes a chunk of 32 weights into registers once and multiplies
// it with that chunk of every token. All lanes of a workgroup read the same numbers of X. Memory: registers.
override N: u32;          // rows of W
override K: u32;          // length of a row
override FIRST: u32 = 0;  // first column of Y that this part of W computes
override STRIDE: u32;     // numbers from a token to the next in Y
override BETA: f32 = 0;   // 1 adds to Y, 0 replaces it
override LANES: u32 = 32;
const TOKENS = 8u;

struct Params {
  tokens: u32,  // T
}

@group(0) @binding(0) var<storage, read> x: array<vec4f>;      // [T, K], rows padded with zeros to whole chunks
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [T, FIRST + N]
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x * LANES + lane;
  let first = group.y * TOKENS;
  var sums: array<f32, TOKENS>;
  for (var chunk = 0u; chunk < chunks(); chunk++) {
    let w = weights(min(row, N - 1u), chunk);
    for (var t = 0u; t < TOKENS; t++) {
      let origin = (min(first + t, params.tokens - 1u) * chunks() + chunk) * 8u;
      var sum = vec4f();
      for (var i = 0u; i < 8u; i++) {
        sum += w[i] * x[origin + i];
      }
      sums[t] += dot(sum, vec4f(1.0));
    }
  }
  if (row < N) {
    for (var t = 0u; t < TOKENS && first + t < params.tokens; t++) {
      let to = (first + t) * STRIDE + FIRST + row;
      var result = sums[t];
      if (BETA != 0.0) {
        result += BETA * y[to];
      }
      y[to] = result;
    }
  }
}
