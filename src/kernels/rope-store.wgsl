// Queries and keys are rotated, and keys and values go to their pages. A key is rotated once, at its text position, and
// never again; a query is rotated twice: it meets the window at its own position, and the sinks at min(t, S + W - 1),
// which is where StreamingLLM's re-assigned cache positions put it. Scores depend on distances only, so this equals
// moving every key.                                                                Xiao et al. 2024, arXiv:2309.17453
//
// One row of workgroups a token; its lanes stride over the query heads, then the key/value heads, four numbers each.
// `pack_cell` comes with the cells of the cache, `rotate` with its page. Where keys are kept raw, their turns are all (1, 0).
// Memory: registers.
override H: u32;       // query heads
override G: u32;       // key/value heads
override E: u32;       // head width
override P: u32;       // tokens a page
override GAP: u32;     // distance of the two numbers of a pair
override SCALE: f32;   // of queries: 1 / sqrt(E)
override STRIDE: u32;  // numbers from a token to the next in qk and qkv
override LANES: u32 = 32;

struct Params {
  tokens: u32,  // T
}

@group(0) @binding(0) var<storage, read> qk: array<f32>;                // [T, H + G, E] in rows of STRIDE
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;             // [T, H + 2 G, E/4] in rows of STRIDE
@group(0) @binding(2) var<storage, read> turns: array<vec2f>;           // [3, T, E/2] (cos, sin): window, sinks, keys
@group(0) @binding(3) var<storage, read> slots: array<u32>;             // [T] page * P + place in the page
@group(0) @binding(4) var<storage, read_write> rotated: array<vec4f>;   // [T, 2, H, E/4]: for the window, for the sinks
@group(0) @binding(5) var<storage, read_write> k_pages: array<Cell>;    // [N, G, P, E/4]
@group(0) @binding(6) var<storage, read_write> v_pages: array<Cell>;    // [N, G, P, E/4]
@group(0) @binding(7) var<uniform> params: Params;

// Four numbers of the head that begins at `origin`, turned by row `t` of table `side`.
fn turned(origin: u32, cell: u32, side: u32, t: u32) -> vec4f {
  var result = vec4f();
  for (var c = 0u; c < 4u; c++) {
    let e = 4u * cell + c;
    let turn = turns[(side * params.tokens + t) * (E / 2u) + pair_of(e)];
    result[c] = rotate(e, qk[origin + e], qk[origin + partner(e)], turn);
  }
  return result;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let strip = E / 4u;
  let t = group.y;
  for (var i = group.x * LANES + lane; i < (H + G) * strip; i += groups.x * LANES) {
    let head = i / strip;
    let cell = i % strip;
    let origin = t * STRIDE + head * E;
    if (head < H) {
      for (var side = 0u; side < 2u; side++) {
        rotated[((t * 2u + side) * H + head) * strip + cell] = SCALE * turned(origin, cell, side, t);
      }
    } else {
      let slot = slots[t];
      let to = ((slot / P * G + head - H) * P + slot % P) * strip + cell;
      k_pages[to] = pack_cell(turned(origin, cell, 2u, t));
      v_pages[to] = pack_cell(qkv[(origin + G * E) / 4u + cell]);
    }
  }
}
