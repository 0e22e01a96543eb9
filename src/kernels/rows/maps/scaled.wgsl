// Numbers times a factor.
override SCALE: f32;

fn map(z: vec4f) -> vec4f {
  return SCALE * z;
}
