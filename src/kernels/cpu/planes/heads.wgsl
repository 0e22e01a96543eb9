// The heads of a matrix in a texture, in place of `heads`: see `quants-texture`.
@group(0) @binding(9) var heads: texture_storage_2d<rgba32uint, read>;

fn heads_of(index: u32) -> vec4<u32> {
  return textureLoad(heads, texel_of(index));
}
