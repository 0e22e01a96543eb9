// The heads of super-blocks of 256 weights, in place of `head`, for pages whose eight lanes are a subgroup and hold the
// eight chunks of one super-block: each loads a word of the head, and gets the others from its neighbours.
enable subgroups;

@group(0) @binding(9) var<storage, read> heads: array<u32>;  // [N, K/256, 5] the scales of scales, four bytes for two chunks

// Of a super-block's head, the first word and the one for `chunk` and its neighbour.
fn head(super_block: u32, chunk: u32) -> vec2<u32> {
  let lane = chunk % 8u;
  let word = heads[5u * super_block + min(lane, 4u)];
  return vec2<u32>(subgroupBroadcast(word, 0u), subgroupShuffle(word, 1u + lane / 2u));
}
