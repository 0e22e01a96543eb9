// The likeliest token, with its log-probability, and where the next step looks for its token: so greedy decoding need not
// wait for the host between two steps.
//
// One workgroup; lane i takes logits i, i + WIDTH, ... and keeps the largest, its id, and the sum of exponentials below
// it; then pairs of lanes meet in a tree. Of equal logits the first wins. What is no number makes the id INVALID.
// Memory: three words a lane.
override V: u32;  // vocabulary
const WIDTH = 256u;
const LOWEST = -3.4e38;
const INVALID = 0xffffffffu;

@group(0) @binding(0) var<storage, read> logits: array<f32>;             // [V]
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;       // [1] the id
@group(0) @binding(2) var<storage, read_write> choice: array<vec2<u32>>;  // [1] the id, the bits of its log-probability

var<workgroup> largest: array<f32, WIDTH>;
var<workgroup> ids: array<u32, WIDTH>;
var<workgroup> sums: array<f32, WIDTH>;  // of exp(logit - largest)

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  var most = LOWEST;
  var id = 0u;
  var sum = 0.0;
  for (var i = lane; i < V; i += WIDTH) {
    let logit = logits[i];
    // All exponent bits set: an infinity or no number, which are told by bits since a compiler may take them for absent.
    let bits = bitcast<u32>(logit);
    if ((bits & 0x7f800000u) == 0x7f800000u && bits != 0xff800000u) {
      id = INVALID;
    }
    let top = max(most, logit);
    sum = sum * exp(most - top) + exp(max(logit, LOWEST) - top);
    if (logit > most && id != INVALID) {
      id = i;
    }
    most = top;
  }
  largest[lane] = most;
  ids[lane] = id;
  sums[lane] = sum;
  for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      let other = lane + half;
      let top = max(largest[lane], largest[other]);
      sums[lane] = sums[lane] * exp(largest[lane] - top) + sums[other] * exp(largest[other] - top);
      let follows = largest[other] > largest[lane] || (largest[other] == largest[lane] && ids[other] < ids[lane]);
      if (ids[other] == INVALID || (follows && ids[lane] != INVALID)) {
        ids[lane] = ids[other];
      }
      largest[lane] = top;
    }
  }
  if (lane == 0u) {
    if (largest[0] == LOWEST) {
      ids[0] = INVALID;  // nothing but minus infinity
    }
    tokens[0] = min(ids[0], V - 1u);
    choice[0] = vec2<u32>(ids[0], bitcast<u32>(-log(sums[0])));
  }
}
