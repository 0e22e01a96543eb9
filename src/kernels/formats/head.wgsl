// The heads of super-blocks of 256 weights: Q2_K, Q4_K, Q5_K and Q6_K. Appended with one of those.
@group(0) @binding(9) var<storage, read> heads: array<u32>;  // [N, K/256, 5] the scales of scales, four bytes for two chunks

// Of the head of a chunk's super-block, the first word and the one for the chunk and its neighbour.
fn head(block: u32) -> vec2<u32> {
  let first = block / 8u * 5u;
  return vec2<u32>(heads[first], heads[first + 1u + block % 8u / 2u]);
}
