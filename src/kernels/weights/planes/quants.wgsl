// The quants of a matrix in a buffer: right for every GPU.
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;

fn quants_of(index: u32) -> vec4<u32> {
  return quants[index];
}
