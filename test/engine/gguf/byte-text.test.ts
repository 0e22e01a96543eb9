import fc from "fast-check";
import { expect, test } from "vitest";
import { bytesOfText, textOfBytes } from "../../../src/engine/gguf/byte-text.ts";

// By Python 3.11: bytes.fromhex(…).decode("utf-8", "surrogateescape").
test.each([
  ["61c3a9", "aé"],
  ["efbbbf61", "\ufeffa"],
  ["f09f9982", "🙂"],
  ["f09f", "\udcf0\udc9f"],
  ["9982f09f998221", "\udc99\udc82🙂!"],
  ["c3c3a9a9", "\udcc3é\udca9"],
  ["c080", "\udcc0\udc80"],
  ["e08080", "\udce0\udc80\udc80"],
  ["eda080", "\udced\udca0\udc80"],
  ["edb2a9", "\udced\udcb2\udca9"],
  ["f4908080", "\udcf4\udc90\udc80\udc80"],
  ["f08fbfbf", "\udcf0\udc8f\udcbf\udcbf"],
  ["f8", "\udcf8"],
  ["efbfbd", "\ufffd"],
])("the bytes %s are the text %j", (hex, text) => {
  const bytes = new Uint8Array(Buffer.from(hex, "hex"));
  expect(textOfBytes(bytes)).toBe(text);
  expect(bytesOfText(text)).toEqual(bytes);
});

test("any bytes come back, and no two of them are one text", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc
      .array(fc.constantFrom(0xf0, 0x9f, 0x99, 0x82, 0xc3, 0xa9, 0xed, 0xb2, 0x61))
      .map((bytes) => Uint8Array.from(bytes)),
  );
  fc.assert(
    fc.property(bytes, (given) => {
      expect(bytesOfText(textOfBytes(given))).toEqual(given);
    }),
    { numRuns: 3000 },
  );
});

test("a megabyte of broken bytes is read too", () => {
  const bytes = new Uint8Array(2 ** 20).fill(0xff);
  expect(textOfBytes(bytes)).toHaveLength(2 ** 20);
});
