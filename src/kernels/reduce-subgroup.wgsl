// The sum and the maximum over the lanes of a workgroup, for every lane, where the workgroup is one subgroup: appended
// in place of `reduce` to pages whose LANES are the adapter's one and only subgroup size.
enable subgroups;

fn sum_lanes(value: vec4f, lane: u32) -> vec4f {
  return subgroupAdd(value);
}

fn max_lanes(value: vec4f, lane: u32) -> vec4f {
  return subgroupMax(value);
}

// Of eight numbers of every lane, low[0] to high[3], the sum over all lanes of number `lane`, for lanes 0 to 7.
fn sum_of_eight(low: vec4f, high: vec4f, lane: u32) -> f32 {
  let four = select(sum_lanes(low, lane), sum_lanes(high, lane), (lane & 4u) != 0u);
  return four[lane & 3u];
}
