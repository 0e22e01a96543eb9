// The sum and the maximum over the lanes of a workgroup, for every lane: a tree through workgroup memory, good for
// every adapter. Appended to a page that declares `override LANES`, a power of two.
var<workgroup> lane_values: array<vec4f, LANES>;

fn sum_lanes(value: vec4f, lane: u32) -> vec4f {
  lane_values[lane] = value;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      lane_values[lane] += lane_values[lane + half];
    }
  }
  workgroupBarrier();
  let total = lane_values[0];
  workgroupBarrier();
  return total;
}

fn max_lanes(value: vec4f, lane: u32) -> vec4f {
  lane_values[lane] = value;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      lane_values[lane] = max(lane_values[lane], lane_values[lane + half]);
    }
  }
  workgroupBarrier();
  let largest = lane_values[0];
  workgroupBarrier();
  return largest;
}

// Of eight numbers of every lane, low[0] to high[3], the sum over all lanes of number `lane`, for lanes 0 to 7.
fn sum_of_eight(low: vec4f, high: vec4f, lane: u32) -> f32 {
  let four = select(sum_lanes(low, lane), sum_lanes(high, lane), (lane & 4u) != 0u);
  return four[lane & 3u];
}
