// The vector that a matrix multiplies, in the constant memory of a uniform binding: on a software adapter (llvmpipe) a
// lane's own address costs a third there of what it costs in storage. A GPU would serialise such reads.
@group(0) @binding(0) var<uniform> x: array<vec4f, 4096>;  // [K], padded with zeros to whole chunks; K <= 16384
