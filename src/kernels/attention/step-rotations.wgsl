// What a rotation of `rotations/` reads of a step. Appended to what declares qk [.., E/4] and
// rotations [.., E/4].
fn unrotated(origin: u32, cell: u32) -> vec4f {
  return qk[origin + cell];
}

fn rotation(i: u32) -> vec4f {
  return rotations[i];
}
