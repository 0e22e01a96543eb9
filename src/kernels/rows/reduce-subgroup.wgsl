// The sum and the maximum over the lanes of a workgroup, for every lane, if the workgroup is one
// subgroup: appended in place of `reduce` to shaders whose LANES are the adapter's one and only
// subgroup size, and not eight.
enable subgroups;

fn sum_lanes(value: vec4f, lane: u32) -> vec4f {
  return subgroupAdd(value);
}

fn max_lanes(value: vec4f, lane: u32) -> vec4f {
  return subgroupMax(value);
}
