import { describe, expect, test } from "vitest";
import { LIMITS, REMOVED_TENSOR_TYPES } from "../../../src/engine/gguf/format.ts";
import {
  type GgufContents,
  type MetadataEntry,
  type WrittenTensor,
  writeGguf,
} from "../../support/gguf-writer.ts";
import { expectFault, type Fault, openBytes, openWritten } from "./open.ts";

/** The refusals of ggml's reader and of its model loader, and the reports that led to them. */

const NAME: MetadataEntry = ["general.name", "string", "a model"]; // 20 + 4 + 15 bytes
const F32: WrittenTensor = { name: "a", shape: [4], type: "F32" };

function refuses(what: string, contents: GgufContents, fault: Fault): void {
  test(`refuses ${what}`, () => expectFault(openWritten(contents), fault));
}

/** A header is 24 bytes; a key of n letters takes 8 + n, and its type 4 more. */
const VALUE_OF_NAME = 24 + 8 + NAME[0].length + 4;
/** A tensor named by one letter, of one dimension: 9 bytes of name, then these. */
const SHAPE = 24 + 9;
const TYPE = SHAPE + 4 + 8;
const OFFSET = TYPE + 4;

describe("H: the header", () => {
  refuses(
    "H1 another magic",
    { raw: { magic: "GGML" } },
    {
      offset: 0,
      expected: /the magic "GGUF"/,
      found: /"GGML"/,
    },
  );
  test("refuses H1 a text file and an empty one", async () => {
    const text = new TextEncoder().encode("Once upon a time\n");
    await expectFault(openBytes(text), { offset: 0, expected: /magic/, found: /"Once"/ });
    const empty = new Uint8Array();
    await expectFault(openBytes(empty), { offset: 0, expected: /magic/, found: /end of the file/ });
  });
  const version = { offset: 4, expected: /version 2 or 3/ };
  refuses("H2 version 0", { version: 0 }, { ...version, found: /version 0/ });
  refuses("H2 version 4", { version: 4 }, { ...version, found: /version 4/ });
  test("refuses H2 version 1 with its own advice", async () => {
    const opening = openWritten({ version: 1 });
    const error = await expectFault(opening, { ...version, found: /version 1$/ });
    expect(error.message).toMatch(/Convert the model again/);
  });
  test("refuses H2 a big-endian file by name", async () => {
    const opening = openWritten({ version: 0x03000000 });
    const error = await expectFault(opening, { ...version, found: /big-endian/ });
    expect(error.message).toMatch(/little-endian files only/);
  });
  // CVE-2024-21836 (tensors) and CVE-2024-23605 (keys): n * sizeof(record) wrapped.
  for (const count of [2n ** 64n - 1n, 2n ** 63n, 2n ** 60n + 1n]) {
    const found = new RegExp(`^${count}$`);
    refuses(
      `H3 ${count} tensors`,
      { raw: { tensorCount: count } },
      {
        offset: 8,
        expected: /tensor count of at most 65536/,
        found,
      },
    );
    refuses(
      `H3 ${count} keys`,
      { raw: { keyCount: count } },
      {
        offset: 16,
        expected: /key count of at most 65536/,
        found,
      },
    );
  }
  refuses(
    "H3 more tensors than the file can hold",
    { raw: { tensorCount: 1000n } },
    {
      offset: 8,
      expected: /tensor count of at most \d+ \(what fits into the \d+ bytes that remain\)/,
      found: /1000/,
    },
  );
  refuses(
    "H3 more keys than the file can hold",
    { raw: { keyCount: 1000n } },
    {
      offset: 16,
      expected: /key count of at most \d+ \(what fits/,
      found: /1000/,
    },
  );
  test("accepts a file of nothing", async () => {
    const file = await openWritten({});
    expect([file.metadata.size, file.tensors.size, file.version]).toEqual([0, 0, 3]);
  });
  test("accepts version 2, and a vocabulary without padding behind it", async () => {
    const bytes = writeGguf({ version: 2, metadata: [NAME] }).subarray(0, VALUE_OF_NAME + 8 + 7);
    const file = await openBytes(bytes);
    expect([file.version, file.metadata.get("general.name")]).toEqual([2, "a model"]);
  });
});

describe("K: keys and values", () => {
  refuses(
    "K1 an empty key",
    { metadata: [["", "u32", 1]] },
    {
      offset: 24,
      expected: /a key/,
      found: /empty/,
    },
  );
  refuses(
    "K1 a key of length -1",
    { metadata: [["k", "u32", 1, { keyBytes: 2n ** 64n - 1n }]] },
    {
      offset: 24,
      expected: /length of a key of at most 65535/,
      found: /18446744073709551615/,
    },
  );
  refuses(
    "K1 a key longer than the file",
    { metadata: [["k", "u32", 1, { keyBytes: 9999n }]] },
    {
      offset: 24,
      expected: /length of a key of at most \d+ \(what fits/,
      found: /9999/,
    },
  );
  refuses(
    "K2 a key that comes twice",
    { metadata: [NAME, NAME] },
    {
      offset: 24 + 39,
      expected: /each key once/,
      found: /"general.name" again/,
    },
  );
  for (const type of [13, 0xffffffff]) {
    refuses(
      `K3 value type ${type}`,
      { metadata: [["k", "u32", 1, { type }]] },
      {
        offset: 33,
        expected: /value type of 0 to 12/,
        found: new RegExp(`${type}`),
      },
    );
    refuses(
      `K3 item type ${type}`,
      { metadata: [["k", "u32[]", [1], { itemType: type }]] },
      {
        offset: 37,
        expected: /value type of 0 to 12/,
        found: new RegExp(`${type}`),
      },
    );
  }
  refuses(
    "K3 an array of arrays",
    { metadata: [["k", "u32[]", [1], { itemType: 9 }]] },
    {
      offset: 37,
      expected: /flat array/,
      found: /array of arrays/,
    },
  );
  refuses(
    "K3 a boolean of 2",
    { metadata: [["k", "bool", 2]] },
    {
      offset: 37,
      expected: /boolean/,
      found: /2/,
    },
  );
  refuses(
    "K3 a boolean of 2 in an array",
    { metadata: [["k", "bool[]", [true, 2, false]]] },
    {
      offset: 50,
      expected: /boolean/,
      found: /2/,
    },
  );
  // CVE-2024-21825 and CVE-2024-23496: the length of a string, and the length plus one, wrapped.
  for (const length of [2n ** 64n - 1n, 2n ** 63n, 2n ** 30n, BigInt(LIMITS.stringBytes) + 1n]) {
    refuses(
      `K4 a string of ${length} bytes`,
      { metadata: [[NAME[0], "string", "", { length }]] },
      {
        offset: VALUE_OF_NAME,
        expected: /length of "general.name" of at most 67108864/,
        found: new RegExp(`^${length}$`),
      },
    );
  }
  refuses(
    "K4 a string longer than the file",
    { metadata: [["k", "string", "", { length: 99n }]] },
    {
      offset: 37,
      expected: /of at most \d+ \(what fits/,
      found: /99/,
    },
  );
  for (const [length, expected] of [
    [2n ** 64n - 1n, /of at most 67108864/],
    [1000n, /of at most \d+ \(what fits/],
  ] as const) {
    test(`refuses K4 a string of ${length} bytes in an array`, async () => {
      const bytes = writeGguf({ metadata: [["k", "string[]", ["abc", "de"]]] });
      const second = 24 + 9 + 4 + 4 + 8 + (8 + 3);
      new DataView(bytes.buffer).setBigUint64(second, length, true);
      await expectFault(openBytes(bytes), { offset: second, expected, found: RegExp(`${length}`) });
    });
  }
  for (const type of ["u8", "f64", "string", "bool"] as const) {
    for (const length of [2n ** 64n - 1n, 2n ** 61n, 2n ** 30n + 1n]) {
      refuses(
        `K5 ${length} items of ${type}`,
        { metadata: [["k", `${type}[]`, [], { length }]] },
        {
          offset: 41,
          expected: /item count of "k" of at most (16777216|65536)$/,
          found: new RegExp(`^${length}$`),
        },
      );
    }
    refuses(
      `K5 more items of ${type} than fit`,
      { metadata: [["k", `${type}[]`, [], { length: 60n }]] },
      {
        offset: 41,
        expected: /item count of "k" of at most \d+ \(what fits/,
        found: /60/,
      },
    );
  }
});

describe("K6: general.alignment", () => {
  const at = 24 + 8 + "general.alignment".length;
  for (const [type, value] of [
    ["u64", 32],
    ["i32", 32],
    ["u32[]", [32]],
    ["string", "32"],
  ] as const) {
    refuses(
      `one of type ${type}`,
      { metadata: [["general.alignment", type, value]] },
      {
        offset: at,
        expected: /of type u32/,
        found: type.endsWith("[]") ? /type array/ : RegExp(`type ${type}`),
      },
    );
  }
  for (const value of [0, 13, 48, 2 ** 21, 2 ** 31, 2 ** 32 - 1]) {
    refuses(
      `one of ${value}`,
      { metadata: [["general.alignment", "u32", value]] },
      {
        offset: at + 4,
        expected: /power of two of at most 1048576/,
        found: RegExp(`^${value}$`),
      },
    );
  }
  for (const alignment of [1, 8, 64, 2 ** 20]) {
    test(`accepts one of ${alignment}`, async () => {
      const file = await openWritten({ alignment, tensors: [F32, { ...F32, name: "b" }] });
      const [a, b] = [...file.tensors.values()];
      expect(a!.offset % alignment).toBe(0);
      expect(b!.offset - a!.offset).toBe(Math.max(16, alignment));
    });
  }
  test("refuses data that was laid out by another one", async () => {
    const metadata: MetadataEntry[] = [["general.alignment", "u32", 64]];
    const tensors = [F32, { ...F32, name: "b" }];
    await expectFault(openWritten({ metadata, alignment: 32, tensors }), {
      offset: at + 4 + 4 + (9 + 4 + 8 + 4 + 8) + (9 + 4 + 8 + 4),
      expected: /"b" to start at 64/,
      found: /32/,
    });
  });
});

describe("T: tensors", () => {
  const tensor = (lie: WrittenTensor["raw"]): GgufContents => ({
    tensors: [{ ...F32, raw: lie! }],
  });

  refuses(
    "T1 a name of 64 bytes",
    { tensors: [{ ...F32, name: "n".repeat(64) }] },
    {
      offset: 24,
      expected: /tensor name of at most 63/,
      found: /64/,
    },
  );
  refuses("T1 a name of -1 bytes", tensor({ nameBytes: 2n ** 64n - 1n }), {
    offset: 24,
    expected: /tensor name of at most 63/,
    found: /18446744073709551615/,
  });
  test("accepts T1 a name of 63 bytes", async () => {
    const name = "n".repeat(63);
    expect((await openWritten({ tensors: [{ ...F32, name }] })).tensors.has(name)).toBe(true);
  });
  refuses(
    "T2 a name that comes twice",
    { tensors: [F32, F32] },
    {
      offset: OFFSET + 8,
      expected: /each tensor once/,
      found: /"a" again/,
    },
  );
  refuses(
    "T3 five dimensions",
    { tensors: [{ ...F32, shape: [4, 1, 1, 1, 1] }] },
    {
      offset: SHAPE,
      expected: /at most 4 dimensions/,
      found: /5/,
    },
  );
  refuses("T3 2^32 - 1 dimensions", tensor({ dimensions: 2 ** 32 - 1 }), {
    offset: SHAPE,
    expected: /at most 4 dimensions/,
    found: /4294967295/,
  });
  test("accepts T3 a tensor of no dimensions: one number", async () => {
    const file = await openWritten({ tensors: [{ ...F32, shape: [] }] });
    expect(file.tensors.get("a")).toMatchObject({ shape: [], bytes: 4 });
  });
  refuses("T4 a dimension of -1", tensor({ shape: [2n ** 64n - 1n] }), {
    offset: SHAPE + 4,
    expected: /less than 2\^53 elements/,
    found: /dimension 0 of 18446744073709551615/,
  });
  test("accepts T4 a dimension of 0", async () => {
    const file = await openWritten({
      tensors: [
        { ...F32, shape: [4, 0] },
        { ...F32, name: "b" },
      ],
    });
    expect(file.tensors.get("a")).toMatchObject({ shape: [4, 0], bytes: 0 });
    expect(file.tensors.get("b")?.offset).toBe(file.tensors.get("a")?.offset);
  });
  refuses("T4 a dimension of 0 beside one of -1", tensor({ shape: [0n, 2n ** 64n - 1n] }), {
    offset: SHAPE + 12,
    expected: /less than 2\^53 elements/,
    found: /dimension 1 of/,
  });

  // CVE-2024-21802 and the reports after it: products that wrap to something small, or negative.
  for (const [what, shape, type, dimension] of [
    ["2^32 by 2^32, which wraps to 0", [2n ** 32n, 2n ** 32n], "F32", 1],
    ["CVE-2026-33298, whose bytes wrap", [2n ** 31n, 2n ** 31n, 2n], "F32", 1],
    ["issue 27203, 2^63 - 1 by 2", [2n ** 63n - 1n, 2n, 1n, 1n], "I8", 0],
    ["issue 26978, whose padding wraps", [4n, 2n ** 30n - 1n, 2n ** 30n + 1n], "F32", 2],
    ["MEM_SIZE_OVERFLOW", [0x7fffffffffffffc0n], "I8", 0],
  ] as const) {
    refuses(
      `T5 a product of ${what}`,
      { tensors: [{ ...F32, type, raw: { shape } }] },
      {
        offset: SHAPE + 4 + 8 * dimension,
        expected: /less than 2\^53 elements/,
        found: RegExp(`dimension ${dimension} of ${shape[dimension]}`),
      },
    );
  }
  for (const type of [43, 255, 2 ** 31, 2 ** 32 - 1]) {
    refuses(`T6 type ${type}`, tensor({ type }), {
      offset: TYPE,
      expected: /known type of tensor "a"/,
      found: RegExp(`^type ${type}$`),
    });
  }
  for (const [type, name] of REMOVED_TENSOR_TYPES) {
    test(`refuses T6 the removed type ${name} by name`, async () => {
      const fault = {
        offset: TYPE,
        expected: /current type/,
        found: RegExp(`${name} \\(${type}\\)`),
      };
      const error = await expectFault(openWritten(tensor({ type })), fault);
      expect(error.message).toMatch(/Quantise the model again/);
    });
  }
  refuses("T7 a row that ends within a block", tensor({ type: 12, shape: [128n, 4n] }), {
    offset: SHAPE,
    expected: /whole Q4_K blocks of 256/,
    found: /rows of 128/,
  });
  refuses("T8 more bytes than a number can count", tensor({ type: 28, shape: [2n ** 52n] }), {
    offset: TYPE,
    expected: /less than 2\^53 bytes/,
    found: /4503599627370496 of type F64/,
  });
  for (const [what, offset] of [
    ["a gap", 64n],
    ["an overlap", 0n],
    ["an offset out of line", 31n],
    ["an offset of -1", 2n ** 64n - 1n],
  ] as const) {
    refuses(
      `T9 ${what}`,
      { tensors: [F32, { ...F32, name: "b", raw: { offset } }] },
      {
        offset: OFFSET + 8 + (OFFSET - 24),
        expected: /"b" to start at 32/,
        found: RegExp(`^${offset}$`),
      },
    );
  }
  test("refuses T10 a sum of sizes beyond 2^53", async () => {
    const raw = { shape: [2n ** 52n] };
    const tensors: WrittenTensor[] = [
      { name: "a", shape: [0], type: "I8", raw },
      { name: "b", shape: [0], type: "I8", raw: { ...raw, offset: 2n ** 52n } },
    ];
    const fault = {
      offset: OFFSET + 8 + (OFFSET - 24),
      expected: /2\^53 bytes in all/,
      found: /9007/,
    };
    await expectFault(openWritten({ tensors }), fault);
  });
  // CVE-2026-7482: a shape larger than the data, which was then read beyond its end.
  refuses("T11 data that the file does not have", tensor({ shape: [100n, 100n] }), {
    offset: OFFSET + 8, // the shape has one dimension more
    expected: /data of tensor "a" up to byte 400\d\d/,
    found: /a file of \d+ bytes/,
  });
  test("T11 wants the last tensor's bytes, but not the padding behind them", async () => {
    const bytes = writeGguf({ tensors: [F32] });
    expect(bytes.length % 32).toBe(0);
    const file = await openBytes(bytes.subarray(0, bytes.length - 16));
    expect(file.tensors.get("a")?.bytes).toBe(16);
    await expectFault(openBytes(bytes.subarray(0, bytes.length - 17)), {
      offset: OFFSET,
      expected: /data of tensor "a"/,
      found: /a file of/,
    });
  });
});
