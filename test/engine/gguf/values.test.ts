import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SCALAR_TYPES, TENSOR_TYPES, type TensorType } from "../../../src/engine/gguf/format.ts";
import { parseGguf } from "../../../src/engine/gguf/parse.ts";
import { type ByteSource, bytesSource } from "../../../src/engine/gguf/source.ts";
import {
  ggufHeader,
  type MetadataEntry,
  type WrittenScalar,
  type WrittenTensor,
  type WrittenType,
  writeGguf,
} from "../../support/gguf-writer.ts";
import { openBytes, openWritten } from "./open.ts";

async function readBack(type: WrittenType, value: WrittenScalar | ArrayLike<WrittenScalar>) {
  return (await openWritten({ metadata: [["key", type, value]] })).metadata.get("key");
}

describe("metadata values", () => {
  test.each([
    ["u8", 255, 255],
    ["i8", -128, -128],
    ["u16", 65535, 65535],
    ["i16", -32768, -32768],
    ["u32", 4294967295, 4294967295],
    ["i32", -2147483648, -2147483648],
    ["f32", 0.1, Math.fround(0.1)],
    ["f64", 0.1, 0.1],
    ["bool", true, true],
    ["bool", false, false],
    ["string", "naïve 🙂", "naïve 🙂"],
    ["string", "", ""],
    ["u64", 2 ** 53 - 1, 2 ** 53 - 1],
    ["u64", 2n ** 53n, 2n ** 53n],
    ["u64", 2n ** 64n - 1n, 2n ** 64n - 1n],
    ["i64", -(2 ** 53 - 1), -(2 ** 53 - 1)],
    ["i64", -(2n ** 63n), -(2n ** 63n)],
  ] as const)("%s %s", async (type, written, read) => {
    expect(await readBack(type, written)).toBe(read);
  });

  test.each([
    ["u8[]", Uint8Array.of(0, 255)],
    ["i8[]", Int8Array.of(-128, 127)],
    ["u16[]", Uint16Array.of(0, 65535)],
    ["i16[]", Int16Array.of(-32768, 32767)],
    ["u32[]", Uint32Array.of(0, 4294967295)],
    ["i32[]", Int32Array.of(-2147483648, 1)],
    ["f32[]", Float32Array.of(0.1, -1e10)],
    ["f64[]", Float64Array.of(0.1, 1e300)],
    ["u64[]", BigUint64Array.of(0n, 2n ** 64n - 1n)],
    ["i64[]", BigInt64Array.of(-(2n ** 63n), 1n)],
    ["bool[]", [true, false, true]],
    ["string[]", ["a", "", "▁the", "🙂"]],
    ["string[]", []],
    ["f32[]", new Float32Array()],
  ] as const)("%s", async (type, value) => {
    expect(await readBack(type, value as ArrayLike<WrittenScalar>)).toEqual(value);
  });

  test("a byte order mark at the start of a string is a part of it", async () => {
    expect(await readBack("string", "\uFEFFa")).toBe("\uFEFFa");
    expect(await readBack("string[]", ["\uFEFF"])).toEqual(["\uFEFF"]);
  });

  test("bytes that are no UTF-8 stay what they are in a list, become U+FFFD elsewhere, and spoil nothing", async () => {
    const bytes = writeGguf({
      metadata: [
        ["k", "string[]", ["ab", "c"]],
        ["l", "string", "de"],
        ["m", "string", "f"],
      ],
    });
    bytes[24 + 9 + 4 + 4 + 8 + 8] = 0xff;
    bytes[bytes.lastIndexOf(0x64)] = 0xff;
    const { metadata } = await openBytes(bytes);
    expect([...metadata.values()]).toEqual([["\udcffb", "c"], "\uFFFDe", "f"]);
  });
});

describe("tensors", () => {
  test.each(Object.entries(TENSOR_TYPES))("%s has its size, known or not", async (name, block) => {
    const tensor = { name: "t", shape: [2 * block.elements, 3], type: name as TensorType };
    const header = ggufHeader({ tensors: [tensor, { ...tensor, name: "u" }] });
    const file = await openWritten({ tensors: [tensor, { ...tensor, name: "u" }] });
    expect(file.tensors.get("t")).toMatchObject({ ...tensor, bytes: 6 * block.bytes });
    expect([...file.tensors.values()].map((t) => t.offset)).toEqual(header.tensorOffsets);
  });

  test("the data is where it was written", async () => {
    const data = Uint8Array.from({ length: 18 }, (_, i) => i + 1);
    const zeros: WrittenTensor = { name: "z", shape: [5], type: "F32" };
    const file = await openWritten({
      tensors: [zeros, { name: "q", shape: [32], type: "Q4_0", data }],
    });
    const { source, offset, bytes } = file.tensors.get("q")!;
    const read = new Uint8Array(bytes);
    await source.read(offset, read);
    expect(read).toEqual(data);
  });

  test("offsets beyond 4 GiB are exact, and only the header is read", async () => {
    const tensors: WrittenTensor[] = [
      { name: "large", shape: [2 ** 20, 1500], type: "F32" },
      { name: "last", shape: [3], type: "F32" },
    ];
    const header = ggufHeader({ tensors });
    let bytesRead = 0;
    const source: ByteSource = {
      name: "sparse.gguf",
      size: header.fileBytes,
      async read(offset, into) {
        bytesRead += into.length;
        into.fill(0);
        into.set(header.bytes.subarray(offset, offset + into.length));
      },
      async close() {},
    };
    const parsed = await parseGguf(source);
    expect(parsed.tensors.get("last")?.offset).toBe(header.dataOffset + 1500 * 2 ** 22);
    expect(header.fileBytes).toBeGreaterThan(2 ** 32);
    expect(bytesRead).toBeLessThanOrEqual(256 * 1024);
  });
});

/** A type and a value of it, as it is written and as it comes back. */
function anyValue(): fc.Arbitrary<{ type: WrittenType; value: unknown; read: unknown }> {
  const scalars: Record<string, fc.Arbitrary<WrittenScalar>> = {
    f32: fc.float(),
    f64: fc.double(),
    bool: fc.boolean(),
    string: fc.string({ unit: "grapheme" }),
    u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    i64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  };
  for (const type of ["u8", "i8", "u16", "i16", "u32", "i32"] as const) {
    const range = 256 ** SCALAR_TYPES[type].bytes;
    const min = type.startsWith("u") ? 0 : -range / 2;
    scalars[type] = fc.integer({ min, max: min + range - 1 });
  }
  const narrow = (value: WrittenScalar): WrittenScalar =>
    typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value;
  return fc.constantFrom(...Object.keys(scalars)).chain((type) =>
    fc.oneof(
      scalars[type]!.map((value) => ({ type: type as WrittenType, value, read: narrow(value) })),
      fc.array(scalars[type]!, { maxLength: 20 }).map((items) => {
        return { type: `${type}[]` as WrittenType, value: items, read: items };
      }),
    ),
  );
}

function anyTensor(): fc.Arbitrary<Omit<WrittenTensor, "name">> {
  const types = Object.keys(TENSOR_TYPES) as TensorType[];
  const sizes = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 });
  return fc
    .tuple(fc.constantFrom(...types), fc.integer({ min: 0, max: 3 }), sizes)
    .map(([type, blocks, others]) => ({
      type,
      shape: [blocks * TENSOR_TYPES[type].elements, ...others],
    }));
}

/** Names of up to 63 bytes, as Map keys so that none comes twice. */
function named<T>(value: fc.Arbitrary<T>): fc.Arbitrary<ReadonlyMap<string, T>> {
  const name = fc.string({ minLength: 1, maxLength: 12 }).filter((n) => n !== "general.alignment");
  return fc.array(fc.tuple(name, value), { maxLength: 8 }).map((entries) => new Map(entries));
}

test("what is written is what is read, through a window of any size", async () => {
  const alignment = fc.constantFrom(undefined, 1, 8, 32, 64);
  const window = fc.oneof(fc.integer({ min: 8, max: 64 }), fc.constant(undefined));
  const model = fc.tuple(named(anyValue()), named(anyTensor()), alignment, window, fc.boolean());
  await fc.assert(
    fc.asyncProperty(model, async ([values, shapes, align, windowBytes, old]) => {
      const metadata = [...values].map(([key, v]) => [key, v.type, v.value] as MetadataEntry);
      const tensors = [...shapes].map(([name, tensor]) => ({ name, ...tensor }));
      const contents = {
        version: old ? 2 : 3,
        metadata,
        tensors,
        ...(align === undefined ? {} : { alignment: align }),
      };
      const bytes = writeGguf(contents);
      const { tensorOffsets } = ggufHeader(contents);

      const parsed = await parseGguf(bytesSource("any.gguf", bytes), windowBytes);
      expect(parsed.version).toBe(contents.version);
      for (const [key, { read }] of values) {
        const value = parsed.metadata.get(key);
        expect(ArrayBuffer.isView(value) ? [...(value as Uint8Array)] : value).toEqual(read);
      }
      expect(parsed.metadata.get("general.alignment")).toBe(align);
      const found = [...parsed.tensors.values()].map(({ name, shape, type, offset }) => {
        return { name, shape, type, offset };
      });
      expect(found).toEqual(tensors.map((tensor, i) => ({ ...tensor, offset: tensorOffsets[i] })));
    }),
    { numRuns: 300 },
  );
});

test("reading by small ranges equals reading at once", async () => {
  const words = Array.from({ length: 3000 }, (_, i) => "word ".repeat(i % 7) + i);
  const metadata: MetadataEntry[] = [
    ["tokens", "string[]", words],
    ["scores", "f32[]", words.map((_, i) => -i)],
    ["template", "string", "ä🙂".repeat(500)],
    ["after", "u8", 7],
  ];
  const source = bytesSource("words.gguf", writeGguf({ metadata }));
  const atOnce = await parseGguf(source, source.size);
  for (const windowBytes of [8, 13, 64, 1000, 4096]) {
    expect((await parseGguf(source, windowBytes)).metadata).toEqual(atOnce.metadata);
  }
  expect(atOnce.metadata.get("tokens")).toEqual(words);
  expect(atOnce.metadata.get("after")).toBe(7);
});
