// The single bits of a matrix in a texture, in place of weights/planes/bits: see cpu/planes/quants.
@group(0) @binding(11) var bits: texture_storage_2d<rgba32uint, read>;

fn bits_of(index: u32) -> vec4<u32> {
  return textureLoad(bits, texel_of(index));
}
