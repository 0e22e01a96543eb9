// Numbers kept within a cap. Needs `softcap`.
fn map(z: vec4f) -> vec4f {
  return softcap(z);
}
