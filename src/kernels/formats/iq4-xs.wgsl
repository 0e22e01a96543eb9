// IQ4_XS: super-blocks of 256 with 6-bit scales a chunk; a nibble is an index. w = d (scale - 32) values_of(q).
@group(0) @binding(8) var<storage, read> quants: array<vec4<u32>>;   // [N, K/32] 32 nibbles
@group(0) @binding(9) var<storage, read> headers: array<vec2<u32>>;  // [N, K/256] f16 d, upper scale bits; nibbles

// The sixteen values, -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113, plus 128, a byte each: two choices and
// a shift look one up in registers, an array would be read from memory, lane by lane.
fn values_of(q: vec4<u32>) -> vec4f {
  let odd = (q & vec4<u32>(4u)) != vec4<u32>(0u);
  let low = select(vec4<u32>(0x3f2d1801u), vec4<u32>(0x766a5d4fu), odd);
  let high = select(vec4<u32>(0xa6998d81u), vec4<u32>(0xf1d9c5b5u), odd);
  let four = select(low, high, q >= vec4<u32>(8u));
  return vec4f((four >> (8u * (q & vec4<u32>(3u)))) & vec4<u32>(255u)) - 128.0;
}

fn weights(row: u32, chunk: u32) -> array<vec4f, 8> {
  let block = row * matrix.chunks + chunk;
  let header = headers[block / 8u];
  let j = chunk % 8u;
  let lower = (header.y >> (4u * j)) & 15u;
  let upper = (header.x >> (16u + 2u * j)) & 3u;
  let scale = unpack2x16float(header.x).x * (f32(lower | (upper << 4u)) - 32.0);
  let q = nibbles(quants[block]);
  var w: array<vec4f, 8>;
  for (var i = 0u; i < 8u; i++) {
    w[i] = scale * values_of(q[i]);
  }
  return w;
}
