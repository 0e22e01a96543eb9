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
// other. Neighbours meet first: ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)).
fn sum_of_eight(low: vec4f, high: vec4f, lane: u32) -> f32 {
  let odd = (lane & 1u) != 0u;
  let evens = vec4f(low.xz, high.xz);
  let odds = vec4f(low.yw, high.yw);
  let four = select(evens, odds, odd) + subgroupShuffleXor(select(odds, evens, odd), 1u);
  let second = (lane & 2u) != 0u;
  let two = select(four.xz, four.yw, second) + subgroupShuffleXor(select(four.yw, four.xz, second), 2u);
  let upper = (lane & 4u) != 0u;
  return select(two.x, two.y, upper) + subgroupShuffleXor(select(two.y, two.x, upper), 4u);
}
