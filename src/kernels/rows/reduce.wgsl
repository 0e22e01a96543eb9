// The sum and the maximum over the lanes of a workgroup, for every lane: a tree through workgroup
// memory, good for every adapter. Appended to a shader that declares `override LANES`, a power of
// two.
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
