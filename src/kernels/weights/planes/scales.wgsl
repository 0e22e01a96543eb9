// The scales of a matrix in a buffer: right for every GPU.
@group(0) @binding(9) var<storage, read> scales: array<vec4<u32>>;

fn scale_words_of(index: u32) -> vec4<u32> {
  return scales[index];
}
