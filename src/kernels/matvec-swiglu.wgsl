// h = silu(G x) * (U x), silu(z) = z / (1 + exp(-z)): the first half of a gated feed-forward, for one token.
//                                                                                    Shazeer 2020, arXiv:2002.05202
// The rows of G lie above those of U in one matrix [2 F, K]. As `matvec`, but a workgroup computes PAIRS rows of either.
// Appended: a weight format, two of `inputs/` and a reduction. Memory: registers.
override PAIRS: u32 = 4;  // a multiple of 4, at most MOST
override LANES: u32 = 32;  // a power of two, at least 4
const MOST = 32u;

@group(0) @binding(1) var<storage, read_write> h: array<f32>;  // [F]

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = (group.y * groups.x + group.x) * PAIRS;
  let width = matrix.rows / 2u;
  var sums: array<f32, 2u * MOST>;  // of G, then of U
  for (var chunk = lane; chunk < matrix.chunks; chunk += LANES) {
    var numbers: array<vec4f, 8>;
    var halves = vec2f();
    for (var i = 0u; i < 8u; i++) {
      numbers[i] = input(chunk * 8u + i);
      halves[i >> 2u] += dot(numbers[i], vec4f(1.0));
    }
    for (var r = 0u; r < 2u * PAIRS; r++) {
      let row = min(first + r % PAIRS, width - 1u) + select(0u, width, r >= PAIRS);
      sums[r] += chunk_dot(row, chunk, &numbers, halves);
    }
  }
  let scale = input_scale(lane);
  for (var r = 0u; r < PAIRS; r += 4u) {
    let u = r + PAIRS;
    let z = scale * sum_lanes(vec4f(sums[r], sums[r + 1u], sums[r + 2u], sums[r + 3u]), lane);
    let up = scale * sum_lanes(vec4f(sums[u], sums[u + 1u], sums[u + 2u], sums[u + 3u]), lane);
    // exp overflows below -88; silu is zero to f32 long before.
    let gated = z / (1.0 + exp(-max(z, vec4f(-80.0)))) * up;
    if (lane < 4u && first + r + lane < width) {
      h[first + r + lane] = gated[lane];
    }
  }
}
