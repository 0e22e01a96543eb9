// The heads of super-blocks of 256 weights: Q2_K, Q4_K, Q5_K and Q6_K. Appended with one of those.
@group(0) @binding(9) var<storage, read> heads: array<u32>;  // [N, K/256, 5] the scales of scales, four bytes for two chunks

// Of a super-block's head, the first word and the one for `chunk` and its neighbour.
fn head(super_block: u32, chunk: u32) -> vec2<u32> {
  let first = 5u * super_block;
  return vec2<u32>(heads[first], heads[first + 1u + chunk % 8u / 2u]);
}
