// The pairs of bits of a matrix in a buffer: right for every GPU.
@group(0) @binding(10) var<storage, read> pairs: array<vec2<u32>>;

fn pairs_of(index: u32) -> vec2<u32> {
  return pairs[index];
}
