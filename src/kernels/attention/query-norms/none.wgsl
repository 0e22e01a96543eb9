// Queries whose norm, if they have one, is whole before they are rotated.
fn normed_query(value: vec4f, _i: u32) -> vec4f {
  return value;
}
