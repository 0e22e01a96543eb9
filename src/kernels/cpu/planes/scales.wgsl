// The scales of a matrix in a texture, in place of weights/planes/scales: see cpu/planes/quants.
@group(0) @binding(9) var scales: texture_storage_2d<rgba32uint, read>;

fn scale_words_of(index: u32) -> vec4<u32> {
  return textureLoad(scales, texel_of(index));
}
