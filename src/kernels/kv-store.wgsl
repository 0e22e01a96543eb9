// Keys, rotated at their text position, and values of this step go to their pages. Where keys are kept raw, the turns
// are all (1, 0).
//
// One lane four numbers of a key and of a value, one row of workgroups a token. `pack_cell` comes with the cell type
// of the cache. Memory: registers.
override G: u32;       // key/value heads
override E: u32;       // head width
override P: u32;       // tokens a page
override GAP: u32;     // distance of the two numbers of a pair
override STRIDE: u32;  // numbers from a token to the next in k and v
override LANES: u32 = 32;

@group(0) @binding(0) var<storage, read> k: array<f32>;                 // [T, G, E]
@group(0) @binding(1) var<storage, read> v: array<vec4f>;               // [T, G, E]
@group(0) @binding(2) var<storage, read> turns: array<vec2f>;           // [2, T, E/2] (cos, sin): the first T rows
@group(0) @binding(3) var<storage, read> slots: array<u32>;             // [T] page * P + place in the page
@group(0) @binding(4) var<storage, read_write> k_pages: array<Cell>;    // [N, G, P, E/4]
@group(0) @binding(5) var<storage, read_write> v_pages: array<Cell>;    // [N, G, P, E/4]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = group.x * LANES + lane;
  let t = group.y;
  if (i < G * E / 4u) {
    let head = i / (E / 4u);
    let cell = i % (E / 4u);
    let origin = t * STRIDE + head * E;
    var key = vec4f();
    for (var c = 0u; c < 4u; c++) {
      let e = 4u * cell + c;
      key[c] = rotate(e, k[origin + e], k[origin + partner(e)], turns[t * (E / 2u) + pair_of(e)]);
    }
    let slot = slots[t];
    let to = ((slot / P * G + head) * P + slot % P) * (E / 4u) + cell;
    k_pages[to] = pack_cell(key);
    v_pages[to] = pack_cell(v[origin / 4u + cell]);
  }
}
