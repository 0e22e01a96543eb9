// A packed matrix, and the bit moves that the weight formats share. Appended, with one format, to a
// shader that reads weights. The size of a matrix is data beside its planes, not an override: so
// all matrices of a format share one pipeline, whatever their sizes and whether their products are
// added.

struct Matrix {
  rows: u32,    // N, of this part
  columns: u32,  // K
  chunks: u32,   // of 32 weights a row, the last one perhaps partly empty
  first: u32,    // first row of this part in the whole matrix
  stride: u32,   // numbers from a token to the next in what the whole matrix computes
  beta: f32,     // 1 adds the product to what is there, 0 replaces it
  texel_bits: u32,  // 2 ^ texel_bits texels are a row of a texture: see cpu/planes/interleaved
}
@group(0) @binding(7) var<uniform> matrix: Matrix;

// A *chunk* is 32 neighbouring weights of a row, and eight chunks are a *super-block*, the last of
// a row perhaps a smaller one. `block` is where a chunk lies in the planes, `index` where a
// super-block lies in them, and `place` which of its super-block's chunks a chunk is.
//
// A format reads what the chunks of a super-block have together (`packed_scales_of`) and what each
// has for itself (`packed_of`), and gives w = scale q + offset: `four_of` are the q of weights 4i
// .. 4i + 3, `scales_of` are the scale and the offset of either half of a chunk.
struct Scales {
  scale: vec2f,  // of the first sixteen, and of the others
  offset: vec2f,
}

// A whole chunk.
struct Chunk {
  q: array<vec4f, 8>,
  scales: Scales,
}

fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let packed_scales = packed_scales_of(super_of(row, chunk));
  let packed = packed_of(block_of(row, chunk));
  var c: Chunk;
  for (var i = 0u; i < 8u; i++) {
    c.q[i] = four_of(packed_scales, chunk % 8u, packed, i);
  }
  c.scales = scales_of(packed_scales, chunk % 8u);
  return c;
}

// The weights themselves.
fn weights(row: u32, chunk: u32) -> array<vec4f, 8> {
  let c = load_chunk(row, chunk);
  var w: array<vec4f, 8>;
  for (var i = 0u; i < 8u; i++) {
    w[i] = c.scales.scale[i >> 2u] * c.q[i] + c.scales.offset[i >> 2u];
  }
  return w;
}

// The dot product of a chunk with 32 numbers, given the sums of either half of those: so scales are
// applied to sums, and not to every weight.
fn chunk_dot(
  packed_scales: PackedScales,
  place: u32,
  packed: Packed,
  numbers: ptr<function, array<vec4f, 8>>,
  halves: vec2f,
) -> f32 {
  var low = 0.0;
  var high = 0.0;
  for (var i = 0u; i < 4u; i++) {
    low += dot(four_of(packed_scales, place, packed, i), numbers[i]);
    high += dot(four_of(packed_scales, place, packed, i + 4u), numbers[i + 4u]);
  }
  let scales = scales_of(packed_scales, place);
  return dot(scales.scale, vec2f(low, high)) + dot(scales.offset, halves);
}

// Of eight packed scales: one of eight halves, or of eight words.
fn half_of(words: vec4<u32>, place: u32) -> f32 {
  return unpack2x16float(words[place / 2u])[place & 1u];
}

fn word_of(low: vec4<u32>, high: vec4<u32>, place: u32) -> u32 {
  return select(low, high, place >= 4u)[place & 3u];
}

// Of the scales of Q4_K and Q5_K, the 6-bit scale and minimum of a chunk: the first four of each
// lie whole in words 1 and 2, the others are nibbles of word 3 and, above them, the two upper bits
// of the bytes of words 1 and 2.
fn scale_and_min(packed_scales: vec4<u32>, place: u32) -> vec2f {
  let whole = (packed_scales.yz >> vec2<u32>(8u * (place & 3u))) & vec2<u32>(255u);
  let nibbles = (vec2<u32>(packed_scales.w) >> (vec2<u32>(0u, 4u) + 8u * (place & 3u))) & vec2<u32>(15u);
  return vec2f(select(whole & vec2<u32>(63u), nibbles | ((whole >> vec2<u32>(6u)) << vec2<u32>(4u)), place >= 4u));
}

fn byte_of(word: u32, index: u32) -> u32 {
  return (word >> (8u * index)) & 255u;
}

// The four bytes of a word as numbers. Formats first combine the bits of four small integers in one
// word, a byte each, which takes a quarter of the instructions of one number at a time.
fn numbers_of(word: u32) -> vec4<u32> {
  return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

// Four-bit integers 4i .. 4i + 3 of a chunk: byte j of the 16 holds integer j low and integer j +
// 16 high.
fn nibble_bytes(quants: vec4<u32>, i: u32) -> u32 {
  return (quants[i & 3u] >> (4u * (i >> 2u))) & 0x0f0f0f0fu;
}

// Two-bit integers 4i .. 4i + 3 of a chunk: byte k of word i >> 2 holds them at bit 2 (i & 3).
fn pair_bytes(words: vec2<u32>, i: u32) -> u32 {
  return (words[i >> 2u] >> (2u * (i & 3u))) & 0x03030303u;
}

// Bits 4i .. 4i + 3 of a word of 32: the product moves them to the lowest bits of four bytes
// without a carry.
fn bit_bytes(word: u32, i: u32) -> u32 {
  return (((word >> (4u * i)) & 15u) * 0x00204081u) & 0x01010101u;
}

// The sixteen values of the non-linear four-bit formats, -127 -104 -83 -65 -49 -35 -22 -10 1 13 25
// 38 53 69 89 113, plus 128, a byte each: two choices and a shift look one up in registers; an
// array would be read from memory, lane by lane.
fn iq4_values(q: vec4<u32>) -> vec4f {
  let odd = (q & vec4<u32>(4u)) != vec4<u32>(0u);
  let low = select(vec4<u32>(0x3f2d1801u), vec4<u32>(0x766a5d4fu), odd);
  let high = select(vec4<u32>(0xa6998d81u), vec4<u32>(0xf1d9c5b5u), odd);
  let four = select(low, high, q >= vec4<u32>(8u));
  return vec4f((four >> (8u * (q & vec4<u32>(3u)))) & vec4<u32>(255u)) - 128.0;
}
