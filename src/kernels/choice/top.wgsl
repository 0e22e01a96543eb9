// Of each of some rows, the `keep` largest logits and those that equal the last of them in their first 22 bits, in any
// order, with ln(sum of exp) of all: what a sampler on the host needs of a vocabulary. Floats go
// out as their bits; validity is 1 if all logits are numbers.
//
// A workgroup takes a row: it counts logits by 11 bits, finds the bin of the last one wanted, counts those in it
// by the next 11, and collects what reaches the mark. Memory: 2048 counters, three words a lane.
override V: u32;       // vocabulary
override STRIDE: u32;  // numbers from a row of logits to the next
const WIDTH = 256u;
const BINS = 2048u;
const SHARE = 8u;  // BINS / WIDTH
const ROOM = 1024u;
const HEADER = 4u;
const LOWEST = -3.4e38;

@group(0) @binding(0) var<storage, read> logits: array<f32>;         // [R, V] in rows of STRIDE
@group(0) @binding(1) var<storage, read> wanted: array<vec2<u32>>;   // [lists] row of the logits; keep, at most ROOM
@group(0) @binding(2) var<storage, read_write> top: array<u32>;      // [lists, HEADER + 2 ROOM]: count, sum, validity, 0; (id, logit)

var<workgroup> counts: array<atomic<u32>, BINS>;
var<workgroup> totals: array<u32, WIDTH>;
var<workgroup> largest: array<f32, WIDTH>;
var<workgroup> sums: array<f32, WIDTH>;
var<workgroup> mark: vec2<u32>;  // the bin of the last wanted one, and how many are wanted of that bin
var<workgroup> found: atomic<u32>;
var<workgroup> broken: atomic<u32>;

// The iterations of a loop, not as a constant, or Mesa would unroll it, for seconds.
fn times(count: u32) -> u32 {
  return select(0u, count, arrayLength(&wanted) > 0u);
}

// Whole numbers in the order of the logits.
fn key_of(logit: f32) -> u32 {
  let bits = bitcast<u32>(logit);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn clear_counts(lane: u32) {
  for (var i = 0u; i < times(SHARE); i++) {
    atomicStore(&counts[lane * SHARE + i], 0u);
  }
}

// Finds the highest bin down to which at least `wanted` are counted, and subtracts the counts above
// it.
fn find_mark(lane: u32, wanted: u32) {
  workgroupBarrier();
  var total = 0u;
  for (var i = 0u; i < times(SHARE); i++) {
    total += atomicLoad(&counts[lane * SHARE + i]);
  }
  totals[lane] = total;
  workgroupBarrier();
  if (lane == 0u) {
    var left = wanted;
    var share = WIDTH - 1u;
    for (; share > 0u && totals[share] < left; share--) {
      left -= totals[share];
    }
    var bin = share * SHARE + SHARE - 1u;
    for (; bin > 0u && atomicLoad(&counts[bin]) < left; bin--) {
      left -= atomicLoad(&counts[bin]);
    }
    mark = vec2<u32>(bin, left);
  }
  workgroupBarrier();
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first = wanted[group.x].x * STRIDE;
  let keep = wanted[group.x].y;
  let list = group.x * (HEADER + 2u * ROOM);
  clear_counts(lane);
  workgroupBarrier();
  var most = LOWEST;
  var sum = 0.0;
  for (var i = lane; i < times(V); i += WIDTH) {
    let logit = logits[first + i];
    let bits = bitcast<u32>(logit);
    if ((bits & 0x7f800000u) == 0x7f800000u && bits != 0xff800000u) {
      atomicStore(&broken, 1u);
    }
    let peak = max(most, logit);
    sum = sum * exp(most - peak) + exp(max(logit, LOWEST) - peak);
    most = peak;
    atomicAdd(&counts[key_of(logit) >> 21u], 1u);
  }
  largest[lane] = most;
  sums[lane] = sum;
  for (var half = times(WIDTH / 2u); half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      let peak = max(largest[lane], largest[lane + half]);
      sums[lane] = sums[lane] * exp(largest[lane] - peak) + sums[lane + half] * exp(largest[lane + half] - peak);
      largest[lane] = peak;
    }
  }
  find_mark(lane, min(keep, V));
  let coarse = workgroupUniformLoad(&mark);
  clear_counts(lane);
  workgroupBarrier();
  for (var i = lane; i < times(V); i += WIDTH) {
    let key = key_of(logits[first + i]);
    if (key >> 21u == coarse.x) {
      atomicAdd(&counts[(key >> 10u) & (BINS - 1u)], 1u);
    }
  }
  find_mark(lane, coarse.y);
  let least = (coarse.x << 11u) | workgroupUniformLoad(&mark).x;
  for (var i = lane; i < times(V); i += WIDTH) {
    let logit = logits[first + i];
    if (key_of(logit) >> 10u >= least) {
      let at = atomicAdd(&found, 1u);
      if (at < ROOM) {
        top[list + HEADER + 2u * at] = i;
        top[list + HEADER + 2u * at + 1u] = bitcast<u32>(logit);
      }
    }
  }
  workgroupBarrier();
  if (lane == 0u) {
    top[list] = atomicLoad(&found);
    top[list + 1u] = bitcast<u32>(largest[0] + log(sums[0]));
    top[list + 2u] = 1u - atomicLoad(&broken);
  }
}
