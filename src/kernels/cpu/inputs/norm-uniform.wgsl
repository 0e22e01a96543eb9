// The weights of a norm, in a uniform binding, which a software adapter reads faster: see
// `uniform`.
@group(0) @binding(2) var<uniform> norm: array<vec4f, 4096>;  // [K], whatever follows it; K <= 16384
