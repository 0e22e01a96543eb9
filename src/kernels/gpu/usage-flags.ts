// The flags of WebGPU by name. Node has no globals for them, and the engine defines none.

export const USAGE = {
  MAP_READ: 0x01,
  COPY_SRC: 0x04,
  COPY_DST: 0x08,
  UNIFORM: 0x40,
  STORAGE: 0x80,
  QUERY_RESOLVE: 0x200,
} as const;

/** Flags of a texture that shaders read as storage. */
export const TEXTURE_USAGE = 0x01 | 0x02 | 0x08; // COPY_SRC, COPY_DST, STORAGE_BINDING

export const MAP_READ_MODE = 0x01;
export const COMPUTE_STAGE = 0x04;
