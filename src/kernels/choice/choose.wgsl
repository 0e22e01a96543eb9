// Chooses the next token, with its log-probability, and writes it where the next step reads its
// token, so that decoding need not wait for the host between two steps. At temperature 0 it is the
// likeliest; else it is drawn, as the largest of logit / temperature + Gumbel noise, which is a
// draw from the softmax of logit / temperature.
//
// One workgroup; lane i takes logits i, i + WIDTH, ... and keeps the best score, its id, the
// largest logit, and the sum of exponentials below it; then pairs of lanes are combined in a tree.
// Of equal scores the first wins. A NaN or +Infinity makes the id INVALID. Memory: four words a
// lane. Appended: noise.
override V: u32;  // vocabulary
const WIDTH = 256u;
const LOWEST = -3.4e38;
const INVALID = 0xffffffffu;

struct Params {
  temperature: f32,  // at least 0
  seed_low: u32,
  seed_high: u32,
  position: u32,  // of the token to be chosen
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;             // [V]
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;       // [1] the id
@group(0) @binding(2) var<storage, read_write> choice: array<vec2<u32>>;  // [1] the id, the bits of its log-probability
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> scores: array<f32, WIDTH>;
var<workgroup> ids: array<u32, WIDTH>;
var<workgroup> largest: array<f32, WIDTH>;
var<workgroup> sums: array<f32, WIDTH>;  // of exp(logit - largest)

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let draws = params.temperature > 0.0;
  var best = LOWEST;
  var id = 0u;
  var most = LOWEST;
  var sum = 0.0;
  for (var i = lane; i < V; i += WIDTH) {
    let logit = logits[i];
    // All exponent bits set: an infinity or NaN. Tested by bits, since a compiler may assume that
    // neither occurs.
    let bits = bitcast<u32>(logit);
    if ((bits & 0x7f800000u) == 0x7f800000u && bits != 0xff800000u) {
      id = INVALID;
    }
    let top = max(most, logit);
    sum = sum * exp(most - top) + exp(max(logit, LOWEST) - top);
    most = top;
    var score = logit;
    if (draws) {
      let word = threefry(vec2<u32>(params.seed_low, params.seed_high), vec2<u32>(params.position, i)).x;
      score = logit / params.temperature + gumbel(word);
    }
    if (score > best && id != INVALID) {
      best = score;
      id = i;
    }
  }
  scores[lane] = best;
  ids[lane] = id;
  largest[lane] = most;
  sums[lane] = sum;
  // Half of the lanes. Not a constant, or Mesa would unroll the loop, for seconds.
  for (var half = select(0u, WIDTH / 2u, params.temperature >= 0.0); half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      let other = lane + half;
      let top = max(largest[lane], largest[other]);
      sums[lane] = sums[lane] * exp(largest[lane] - top) + sums[other] * exp(largest[other] - top);
      largest[lane] = top;
      let follows = scores[other] > scores[lane] || (scores[other] == scores[lane] && ids[other] < ids[lane]);
      if (ids[other] == INVALID || (follows && ids[lane] != INVALID)) {
        ids[lane] = ids[other];
        scores[lane] = scores[other];
      }
    }
  }
  if (lane == 0u) {
    if (scores[0] == LOWEST) {
      ids[0] = INVALID;  // nothing but minus infinity
    }
    let chosen = min(ids[0], V - 1u);
    tokens[0] = chosen;
    choice[0] = vec2<u32>(ids[0], bitcast<u32>(logits[chosen] - largest[0] - log(sums[0])));
  }
}
