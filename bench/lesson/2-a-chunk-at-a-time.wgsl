// Version 1, but 32 weights at a time: one wide load gives all their quants, and scales are read once for them.
// Of memory it reads, for 32 weights: four words of quants, four of the scales, 32 numbers of x.
// Appended: weights/formats/q4-k and what it needs, from here on as in the engine.
@group(0) @binding(0) var<storage, read> x: array<vec4f>;      // [K/4]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [N]

override LANES: u32 = 8;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.x;
  var sum = vec4f();
  for (var chunk = 0u; row < matrix.rows && chunk < matrix.chunks; chunk++) {
    let w = weights(row, chunk);
    for (var i = 0u; i < 8u; i++) {
      sum += w[i] * x[chunk * 8u + i];
    }
  }
  if (row < matrix.rows) {
    y[row] = dot(sum, vec4f(1.0));
  }
}
