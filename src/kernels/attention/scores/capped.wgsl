// Scores are the products of queries and keys, kept within a cap (Gemma 2). Needs `rows/softcap`.
fn score_of(products: vec4f) -> vec4f {
  return softcap(products);
}
