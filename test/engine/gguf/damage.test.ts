import { expect, test, vi } from "vitest";
import { GgufError, type GgufFile, openGguf } from "../../../src/engine/gguf/gguf.ts";
import { type ByteSource, bytesSource } from "../../../src/engine/gguf/source.ts";
import { writeGguf } from "../../support/gguf-writer.ts";

/**
 * Every truncation and every damaged byte of a small file ends in a GgufError or in a model that is
 * consistent with its file; and on the way nothing is allocated, or asked for, beyond the file's size.
 */

/** The lengths that typed arrays and arrays were made with. Hoisted: the reader must see no others. */
const allocations = vi.hoisted(() => {
  const seen = { largest: 0 };
  const arrays = ["Array", "Uint8Array", "Int8Array", "Uint16Array", "Int16Array", "Uint32Array"];
  arrays.push("Int32Array", "Float32Array", "Float64Array", "BigUint64Array", "BigInt64Array");
  for (const name of arrays) {
    const original = Reflect.get(globalThis, name) as new (...args: unknown[]) => object;
    const watched = new Proxy(original, {
      construct(target, [first, ...rest], newTarget) {
        if (typeof first === "number") {
          const each = Reflect.get(target, "BYTES_PER_ELEMENT") ?? 8;
          seen.largest = Math.max(seen.largest, first * (each as number));
        }
        return Reflect.construct(target, [first, ...rest], newTarget) as object;
      },
    });
    Reflect.set(globalThis, name, watched);
  }
  return seen;
});

const intact = writeGguf({
  metadata: [
    ["general.alignment", "u32", 32],
    ["u8", "u8", 1],
    ["i8", "i8", -1],
    ["u16", "u16", 2],
    ["i16", "i16", -2],
    ["f32", "f32", 0.5],
    ["bool", "bool", true],
    ["string", "string", "text"],
    ["u64", "u64", 2n ** 60n],
    ["i64", "i64", -1],
    ["f64", "f64", 0.25],
    ["tokens", "string[]", ["<s>", "a", ""]],
    ["scores", "f32[]", [0, -1, -2]],
    ["flags", "bool[]", [true, false]],
    ["wide", "i64[]", [1, 2]],
    ["split.count", "u16", 1],
  ],
  tensors: [
    { name: "a", shape: [32, 2], type: "Q4_0" },
    { name: "b", shape: [4], type: "F32" },
  ],
});

type Outcome = "refused" | "accepted";

/** Opens the damaged file and checks what came of it; `expect` would cost more than the reader. */
async function open(bytes: Uint8Array, damage: string): Promise<Outcome> {
  const must = (holds: boolean, what: string, cause?: unknown): void => {
    if (!holds) throw new Error(`${damage}: ${what}`, { cause });
  };
  const plain = bytesSource("damaged.gguf", bytes);
  let reads = 0;
  let bytesRead = 0;
  const source: ByteSource = {
    ...plain,
    read(offset, into) {
      reads++;
      bytesRead += into.length;
      return plain.read(offset, into);
    },
  };
  allocations.largest = 0;

  let outcome: Outcome = "accepted";
  try {
    checkModel(await openGguf("damaged.gguf", async () => source), bytes, must);
  } catch (error) {
    must(error instanceof GgufError, `${error}`, error);
    checkError(error as GgufError, bytes, must);
    outcome = "refused";
  }
  must(reads < 20 && bytesRead <= bytes.length, `${bytesRead} bytes read in ${reads} reads`);
  must(allocations.largest <= bytes.length, `${allocations.largest} bytes allocated`);
  return outcome;
}

type Must = (holds: boolean, what: string) => void;

/** A model whose every tensor lies in the file. */
function checkModel(file: GgufFile, bytes: Uint8Array, must: Must): void {
  for (const { name, shape, offset, bytes: size } of file.tensors.values()) {
    const sound = [offset, size, ...shape].every((n) => Number.isSafeInteger(n) && n >= 0);
    must(sound && offset + size <= bytes.length, `tensor ${name}: ${shape}, ${size} at ${offset}`);
  }
}

/** An error that points into the file; only what concerns shards or a key's type has no place. */
function checkError({ offset = 0, message }: GgufError, bytes: Uint8Array, must: Must): void {
  must(offset >= 0 && offset <= bytes.length, `an error at byte ${offset}`);
  must(!/\n|undefined|NaN|\[object/.test(message), message);
}

/** Fails when the watch is blind: when the module under test no longer sees the watched constructors. */
test("the watch sees what the reader allocates", async () => {
  expect(await open(intact, "nothing")).toBe("accepted");
  expect(allocations.largest).toBe(intact.length); // the window
});

test("every truncation is refused, up to where only padding is missing", async () => {
  const lastTensorEnds = intact.length - 16; // "b" has 16 bytes, and is padded to 32
  for (let length = 0; length < intact.length; length++) {
    const outcome = await open(intact.slice(0, length), `cut to ${length}`);
    expect(outcome, `${length} bytes`).toBe(length < lastTensorEnds ? "refused" : "accepted");
  }
});

test("every byte set to every other value gives a GgufError or a model", async () => {
  let refused = 0;
  for (let at = 0; at < intact.length; at++) {
    for (let change = 1; change < 256; change++) {
      const bytes = intact.slice();
      bytes[at] = intact[at]! ^ change;
      if ((await open(bytes, `byte ${at} set to ${bytes[at]}`)) === "refused") refused++;
    }
  }
  // Text, numbers and data may be damaged unseen; counts, lengths, types and offsets may not.
  const share = refused / (255 * intact.length);
  expect(share).toBeGreaterThan(0.4);
  expect(share).toBeLessThan(0.9);
});

test("every u64 of the file set to a hostile value gives a GgufError or a model", async () => {
  const powers = [64n, 63n, 62n, 53n, 40n, 32n, 24n];
  const hostile = [0n, ...powers.flatMap((power) => [2n ** power - 1n, 2n ** power % 2n ** 64n])];
  for (let at = 0; at + 8 <= intact.length; at++) {
    for (const value of hostile) {
      const bytes = intact.slice();
      new DataView(bytes.buffer).setBigUint64(at, value, true);
      await open(bytes, `bytes ${at} to ${at + 8} set to ${value}`);
    }
  }
});
