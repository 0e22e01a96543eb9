// The vectors that a matrix multiplies, as any other tensor: right for every GPU.
@group(0) @binding(0) var<storage, read> x: array<vec4f>;  // [T, K], padded with zeros to whole chunks
