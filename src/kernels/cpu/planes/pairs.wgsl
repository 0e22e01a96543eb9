// The pairs of bits of a matrix in a texture, in place of weights/planes/pairs: see
// cpu/planes/quants.
@group(0) @binding(10) var pairs: texture_storage_2d<rg32uint, read>;

fn pairs_of(index: u32) -> vec2<u32> {
  return textureLoad(pairs, texel_of(index)).xy;
}
