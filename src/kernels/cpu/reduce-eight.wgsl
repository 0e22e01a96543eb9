// The sum and the maximum over the lanes of a workgroup of eight, for every lane, if it is one
// subgroup: exchanges between pairs of lanes, which a software adapter (llvmpipe) turns into one
// instruction each, while it takes the lanes of a subgroupAdd one after the other. Appended in
// place of `reduce`. In `sum_of_eight`, `lane` is the place of a lane in its subgroup.
enable subgroups;

fn sum_lanes(value: vec4f, lane: u32) -> vec4f {
  let two = value + subgroupShuffleXor(value, 1u);
  let four = two + subgroupShuffleXor(two, 2u);
  return four + subgroupShuffleXor(four, 4u);
}

fn max_lanes(value: vec4f, lane: u32) -> vec4f {
  let two = max(value, subgroupShuffleXor(value, 1u));
  let four = max(two, subgroupShuffleXor(two, 2u));
  return max(four, subgroupShuffleXor(four, 4u));
}

// Of eight numbers of every lane, low[0] to high[3], the sum over all lanes of number `lane`: in
// each exchange a lane gives away the half that it will not need, and adds what it gets to the
// other.
fn sum_of_eight(low: vec4f, high: vec4f, lane: u32) -> f32 {
  let upper = (lane & 4u) != 0u;
  let four = select(low, high, upper) + subgroupShuffleXor(select(high, low, upper), 4u);
  let second = (lane & 2u) != 0u;
  let two = select(four.xy, four.zw, second) + subgroupShuffleXor(select(four.zw, four.xy, second), 2u);
  let odd = (lane & 1u) != 0u;
  return select(two.x, two.y, odd) + subgroupShuffleXor(select(two.y, two.x, odd), 1u);
}
