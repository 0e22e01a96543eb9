// A packed matrix, and the bit moves that the weight formats share. Appended, with one format, to a page that reads
// weights. The size of a matrix is data beside its planes, not an override: so all matrices of a format share one
// pipeline, whatever their sizes and whether their products are added.

struct Matrix {
  rows: u32,    // N, of this part
  columns: u32,  // K
  chunks: u32,   // of 32 weights a row, the last one perhaps partly empty
  first: u32,    // first row of this part in the whole matrix
  stride: u32,   // numbers from a token to the next in what the whole matrix computes
  beta: f32,     // 1 adds the product to what is there, 0 replaces it
  strip: u32,    // chunks of a row that lie together: see `strips`
  texel_bits: u32,  // 2 ^ texel_bits texels are a row of a texture: see `quants-texture`
}
@group(0) @binding(7) var<uniform> matrix: Matrix;

// 32 weights as a format gives them: w = scale q + offset, the first sixteen by .x and the others by .y.
struct Chunk {
  q: array<vec4f, 8>,
  scale: vec2f,
  offset: vec2f,
}

// The weights themselves. `block` is the place of a chunk in the planes of a format: see `rows` and `strips`.
fn weights(block: u32) -> array<vec4f, 8> {
  let c = load_chunk(block);
  var w: array<vec4f, 8>;
  for (var i = 0u; i < 8u; i++) {
    w[i] = c.scale[i >> 2u] * c.q[i] + c.offset[i >> 2u];
  }
  return w;
}

// Their dot product with 32 numbers, given the sums of either half of those: so scales are applied to sums, and not to
// every weight.
fn chunk_dot(block: u32, numbers: ptr<function, array<vec4f, 8>>, halves: vec2f) -> f32 {
  let c = load_chunk(block);
  var low = vec4f();
  var high = vec4f();
  for (var i = 0u; i < 4u; i++) {
    low += c.q[i] * numbers[i];
    high += c.q[i + 4u] * numbers[i + 4u];
  }
  return dot(c.scale, vec2f(dot(low, vec4f(1.0)), dot(high, vec4f(1.0)))) + dot(c.offset, halves);
}

// The half at `index` of a plane that holds two a word, given its word.
fn half_of(word: u32, index: u32) -> f32 {
  return unpack2x16float(word)[index & 1u];
}

fn byte_of(word: u32, index: u32) -> u32 {
  return (word >> (8u * index)) & 255u;
}

// The four bytes of a word. What formats take apart are words of four small integers, a byte each: to put their bits together
// there takes a quarter of the instructions that it takes number by number.
fn numbers_of(word: u32) -> vec4<u32> {
  return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

// Four-bit integers 4i .. 4i + 3 of a chunk: byte j of the 16 holds integer j low and integer j + 16 high.
fn nibble_bytes(quants: vec4<u32>, i: u32) -> u32 {
  return (quants[i & 3u] >> (4u * (i >> 2u))) & 0x0f0f0f0fu;
}

// Two-bit integers 4i .. 4i + 3 of a chunk: byte k of word i >> 2 holds them at bit 2 (i & 3).
fn pair_bytes(words: vec2<u32>, i: u32) -> u32 {
  return (words[i >> 2u] >> (2u * (i & 3u))) & 0x03030303u;
}

// Bits 4i .. 4i + 3 of a word of 32: the product moves them to the lowest bits of four bytes without a carry.
fn bit_bytes(word: u32, i: u32) -> u32 {
  return (((word >> (4u * i)) & 15u) * 0x00204081u) & 0x01010101u;
}

// The sixteen values of the non-linear four-bit formats, -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113, plus
// 128, a byte each: two choices and a shift look one up in registers; an array would be read from memory, lane by lane.
fn iq4_values(q: vec4<u32>) -> vec4f {
  let odd = (q & vec4<u32>(4u)) != vec4<u32>(0u);
  let low = select(vec4<u32>(0x3f2d1801u), vec4<u32>(0x766a5d4fu), odd);
  let high = select(vec4<u32>(0xa6998d81u), vec4<u32>(0xf1d9c5b5u), odd);
  let four = select(low, high, q >= vec4<u32>(8u));
  return vec4f((four >> (8u * (q & vec4<u32>(3u)))) & vec4<u32>(255u)) - 128.0;
}
