// The quants of a matrix in a texture, in place of weights/planes/quants, for a software adapter:
// llvmpipe checks the bounds of every word of a buffer, lane by lane, but those of eight lanes'
// texels at once, and loads sixteen bytes of each together.
@group(0) @binding(8) var quants: texture_storage_2d<rgba32uint, read>;

fn quants_of(index: u32) -> vec4<u32> {
  return textureLoad(quants, texel_of(index));
}
