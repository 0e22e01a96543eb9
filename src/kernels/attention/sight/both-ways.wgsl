// What queries at positions `at` of an encoder see: keys within a window, and AHEAD tokens after
// themselves. An item ends with its text.
override AHEAD: u32;

fn sees(at: vec4<u32>, position: u32, window: u32) -> vec4<bool> {
  let before = at - position < vec4<u32>(window);
  let behind = position - at <= vec4<u32>(AHEAD);
  return select(before, behind, vec4<u32>(position) > at);
}

// The last position that a query sees.
fn last_seen(at: u32) -> u32 {
  return at + min(AHEAD, 0xffffffffu - at);
}
