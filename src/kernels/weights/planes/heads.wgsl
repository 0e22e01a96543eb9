// The heads of a matrix in a buffer: right for every GPU.
@group(0) @binding(9) var<storage, read> heads: array<vec4<u32>>;

fn heads_of(index: u32) -> vec4<u32> {
  return heads[index];
}
