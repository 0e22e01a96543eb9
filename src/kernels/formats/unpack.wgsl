// A packed matrix, and the bit moves that the weight formats share. Appended, with one format, to a page that reads
// weights. The size of a matrix is data beside its planes, not an override: so all matrices of a format share one
// pipeline, whatever their sizes.

struct Matrix {
  rows: u32,    // N, of this part
  columns: u32,  // K
  chunks: u32,   // of 32 weights a row, the last one perhaps partly empty
  first: u32,    // first row of this part in the whole matrix
  stride: u32,   // numbers from a token to the next in what the whole matrix computes
}
@group(0) @binding(7) var<uniform> matrix: Matrix;

// The half at `index` of a plane that holds two a word, given its word.
fn half_of(word: u32, index: u32) -> f32 {
  return unpack2x16float(word)[index & 1u];
}

fn byte_of(word: u32, index: u32) -> u32 {
  return (word >> (8u * index)) & 255u;
}

// The bytes of a word, the lowest first.
fn bytes_of(word: u32) -> vec4f {
  return vec4f((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}

// 32 four-bit integers: byte j of the 16 holds number j low and number j + 16 high.
fn nibbles(quants: vec4<u32>) -> array<vec4f, 8> {
  var q: array<vec4f, 8>;
  for (var i = 0u; i < 4u; i++) {
    q[i] = bytes_of(quants[i] & 0x0f0f0f0fu);
    q[i + 4u] = bytes_of((quants[i] >> 4u) & 0x0f0f0f0fu);
  }
  return q;
}

// Bits of numbers 4i .. 4i + 3 of a chunk, a byte each: byte k of the word holds them at bit i.
fn four_bits(word: u32, i: u32) -> u32 {
  return (word >> i) & 0x01010101u;
}

// Two bits of numbers 4i .. 4i + 3 of a chunk, a byte each: byte k of word i >> 2 holds them at bit 2 (i & 3).
fn four_pairs(words: vec2<u32>, i: u32) -> u32 {
  return (words[i >> 2u] >> (2u * (i & 3u))) & 0x03030303u;
}

// The weights of a chunk. No product is rounded, the difference is, once: exactly the numbers of the plain decoders.
fn weights(row: u32, chunk: u32) -> array<vec4f, 8> {
  let scale = affine(row, chunk);
  var w = unscaled(row, chunk);
  for (var i = 0u; i < 8u; i++) {
    let half = i >> 2u;
    w[i] = scale[half] * w[i] - scale[half + 2u];
  }
  return w;
}
