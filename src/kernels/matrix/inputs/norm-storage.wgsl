// The weights of a norm, as any other tensor: right for every GPU.
@group(0) @binding(2) var<storage, read> norm: array<vec4f>;  // [K]
