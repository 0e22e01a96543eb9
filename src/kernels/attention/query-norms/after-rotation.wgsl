// The weights of norms after the rotation (Hunyuan): a rotation keeps the length of a head, so what
// a norm divides by is known before, and only its weights are left. Those of keys are multiplied
// into the queries, since scores are products of both: keys are stored without them.
@group(0) @binding(8) var<storage, read> norms: array<vec4f>;  // [2, E/4]: of queries, of keys

fn normed_query(value: vec4f, i: u32) -> vec4f {
  return value * norms[i] * norms[E / 4u + i];
}
