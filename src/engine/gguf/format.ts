/**
 * Tables of the GGUF specification: the magic, the types of metadata values, the block layouts of
 * tensors; and the limits that dawnstream adds, because a model file is untrusted input.
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)
 */

/** The first four bytes of every GGUF file. */
export const MAGIC = "GGUF";

/** A tensor's data starts at a multiple of this, unless `general.alignment` says otherwise. */
export const DEFAULT_ALIGNMENT = 32;

/** The fixed-size types of a metadata value. `id` is the number in the file. */
export const SCALAR_TYPES = {
  u8: { id: 0, bytes: 1 },
  i8: { id: 1, bytes: 1 },
  u16: { id: 2, bytes: 2 },
  i16: { id: 3, bytes: 2 },
  u32: { id: 4, bytes: 4 },
  i32: { id: 5, bytes: 4 },
  f32: { id: 6, bytes: 4 },
  bool: { id: 7, bytes: 1 },
  u64: { id: 10, bytes: 8 },
  i64: { id: 11, bytes: 8 },
  f64: { id: 12, bytes: 8 },
} as const;

/** The types of a metadata value whose size is in the file: each starts with a u64 length. */
export const SIZED_TYPES = {
  string: { id: 8 },
  array: { id: 9 },
} as const;

export type ScalarType = keyof typeof SCALAR_TYPES;
export type NumericType = Exclude<ScalarType, "bool">;
export type ValueType = ScalarType | keyof typeof SIZED_TYPES;

/**
 * Every tensor type that ggml can store today. A row is cut into blocks of `elements` weights, each
 * `bytes` long. To be listed here means that its size is known, not that dawnstream can run it:
 * that is the loader's decision, by name.
 */
export const TENSOR_TYPES = {
  F32: { id: 0, elements: 1, bytes: 4 },
  F16: { id: 1, elements: 1, bytes: 2 },
  Q4_0: { id: 2, elements: 32, bytes: 18 },
  Q4_1: { id: 3, elements: 32, bytes: 20 },
  Q5_0: { id: 6, elements: 32, bytes: 22 },
  Q5_1: { id: 7, elements: 32, bytes: 24 },
  Q8_0: { id: 8, elements: 32, bytes: 34 },
  Q8_1: { id: 9, elements: 32, bytes: 36 },
  Q2_K: { id: 10, elements: 256, bytes: 84 },
  Q3_K: { id: 11, elements: 256, bytes: 110 },
  Q4_K: { id: 12, elements: 256, bytes: 144 },
  Q5_K: { id: 13, elements: 256, bytes: 176 },
  Q6_K: { id: 14, elements: 256, bytes: 210 },
  Q8_K: { id: 15, elements: 256, bytes: 292 },
  IQ2_XXS: { id: 16, elements: 256, bytes: 66 },
  IQ2_XS: { id: 17, elements: 256, bytes: 74 },
  IQ3_XXS: { id: 18, elements: 256, bytes: 98 },
  IQ1_S: { id: 19, elements: 256, bytes: 50 },
  IQ4_NL: { id: 20, elements: 32, bytes: 18 },
  IQ3_S: { id: 21, elements: 256, bytes: 110 },
  IQ2_S: { id: 22, elements: 256, bytes: 82 },
  IQ4_XS: { id: 23, elements: 256, bytes: 136 },
  I8: { id: 24, elements: 1, bytes: 1 },
  I16: { id: 25, elements: 1, bytes: 2 },
  I32: { id: 26, elements: 1, bytes: 4 },
  I64: { id: 27, elements: 1, bytes: 8 },
  F64: { id: 28, elements: 1, bytes: 8 },
  IQ1_M: { id: 29, elements: 256, bytes: 56 },
  BF16: { id: 30, elements: 1, bytes: 2 },
  TQ1_0: { id: 34, elements: 256, bytes: 54 },
  TQ2_0: { id: 35, elements: 256, bytes: 66 },
  MXFP4: { id: 39, elements: 32, bytes: 17 },
  NVFP4: { id: 40, elements: 64, bytes: 36 },
  Q1_0: { id: 41, elements: 128, bytes: 18 },
  Q2_0: { id: 42, elements: 64, bytes: 18 },
} as const;

export type TensorType = keyof typeof TENSOR_TYPES;

/** Types that ggml once stored and has removed: their ids are never given out again. */
export const REMOVED_TENSOR_TYPES: ReadonlyMap<number, string> = new Map([
  [4, "Q4_2"],
  [5, "Q4_3"],
  [31, "Q4_0_4_4"],
  [32, "Q4_0_4_8"],
  [33, "Q4_0_8_8"],
  [36, "IQ4_NL_4_4"],
  [37, "IQ4_NL_4_8"],
  [38, "IQ4_NL_8_8"],
]);

/**
 * Limits far above any well-formed header; a file beyond them is refused before memory is
 * allocated.
 */
export const LIMITS = {
  /** The largest vocabularies (256 Ki tokens with merges) need about 20 MB of header. */
  headerBytes: 256 * 1024 * 1024,
  /** Files in use have 20 to 60 keys. */
  metadataKeys: 65_536,
  /** A key is a dotted path; the specification's own bound. */
  keyBytes: 65_535,
  /** The longest strings in use are chat templates, a few tens of kilobytes. */
  stringBytes: 64 * 1024 * 1024,
  /** The longest arrays in use are merges, about half a million. */
  arrayItems: 16 * 1024 * 1024,
  /** A flag takes one byte in the file and eight in memory; flags are given per layer. */
  booleanItems: 65_536,
  /** The largest mixtures of experts have a few thousand tensors. */
  tensors: 65_536,
  /** ggml keeps a name in 64 bytes with its closing NUL. */
  tensorNameBytes: 63,
  /** ggml's GGML_MAX_DIMS. */
  dimensions: 4,
  /** A page at most is useful; 1 MiB leaves room, and keeps padding from dwarfing the data. */
  alignment: 1024 * 1024,
} as const;
