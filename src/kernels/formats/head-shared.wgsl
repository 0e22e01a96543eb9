// The heads of super-blocks of 256 weights, in place of `head`, for pages whose eight lanes are a subgroup and hold the
// eight chunks of one super-block: each loads a word of the head, and gets the others from its neighbours.
enable subgroups;

@group(0) @binding(9) var<storage, read> heads: array<u32>;  // [N, K/256, 5] the scales of scales, four bytes for two chunks

// Of the head of a chunk's super-block, the first word and the one for the chunk and its neighbour.
fn head(block: u32) -> vec2<u32> {
  let lane = block % 8u;
  let word = heads[block / 8u * 5u + min(lane, 4u)];
  return vec2<u32>(subgroupBroadcast(word, 0u), subgroupShuffle(word, 1u + lane / 2u));
}
