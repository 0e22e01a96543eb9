// What queries at positions `at` see: keys up to themselves, within a window.
fn sees(at: vec4<u32>, position: u32, window: u32) -> vec4<bool> {
  return (vec4<u32>(position) <= at) & (at - position < vec4<u32>(window));
}

// The last position that a query sees.
fn last_seen(at: u32) -> u32 {
  return at;
}
