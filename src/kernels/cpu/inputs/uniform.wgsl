// The vector that a matrix multiplies, in the constant memory of a uniform binding: a software
// adapter (llvmpipe) reads it there without a branch for every lane. A GPU would serialise such
// reads.
@group(0) @binding(0) var<uniform> x: array<vec4f, 4096>;  // [T, K], padded with zeros to whole chunks; T K <= 16384
