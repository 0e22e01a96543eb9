// The single bits of a matrix in a buffer: right for every GPU.
@group(0) @binding(11) var<storage, read> bits: array<vec4<u32>>;

fn bits_of(index: u32) -> vec4<u32> {
  return bits[index];
}
