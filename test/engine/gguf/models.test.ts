import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { GGMLQuantizationType, gguf } from "@huggingface/gguf";
import { describe, expect, test } from "vitest";
import { type GgufFile, openGguf } from "../../../src/engine/gguf/gguf.ts";
import { openFile } from "../../../src/platform/file.ts";

/** Real files, read by us and by an independent reader. */

const root = join(import.meta.dirname, "../../..");
const shipped = filesIn(join(root, "models"));
const fixtures = join(root, "../shared/fixtures");
const others = existsSync(fixtures)
  ? [...filesIn(join(fixtures, "models")), ...filesIn(join(fixtures, "tokenizers"))]
  : [];
if (others.length === 0) {
  console.warn(`SKIPPED: ${fixtures} is not there; only the shipped model is compared.`);
}

function filesIn(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => name.endsWith(".gguf"));
  return names.map((name) => join(folder, name));
}

/** Both made alike: plain arrays, numbers for bigints. */
function comparable(value: unknown): unknown {
  if (typeof value === "object") return Array.from(value as ArrayLike<unknown>, comparable);
  return typeof value === "bigint" ? Number(value) : value;
}

/**
 * As their reader has it: it loses a byte order mark at the start of a text. Ours is right to keep it: U+FEFF and runs of it
 * are tokens of Llama 2's vocabulary and of Gemma 4's.
 */
function losingMark(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(losingMark);
  return typeof value === "string" ? value.replace(/^\uFEFF/, "") : value;
}

async function open(path: string): Promise<GgufFile> {
  return openGguf(path, openFile);
}

test("the shipped model is there", () => {
  expect(shipped).not.toEqual([]);
});

describe.each([...shipped, ...others])("%s", (path) => {
  test("reads as @huggingface/gguf reads it", async () => {
    const theirs = await gguf(path, { allowLocalFile: true });
    const ours = await open(path);
    const { version, tensor_count, kv_count, ...metadata } = theirs.metadata;
    expect([ours.version, ours.tensors.size, ours.metadata.size]).toEqual(
      [version, tensor_count, kv_count].map(Number),
    );

    expect([...ours.metadata.keys()].sort()).toEqual(Object.keys(metadata).sort());
    for (const [key, value] of Object.entries(metadata)) {
      expect(losingMark(comparable(ours.metadata.get(key))), key).toEqual(comparable(value));
    }

    const tensors = [...ours.tensors.values()];
    expect(tensors.map(({ name, type, shape, offset }) => ({ name, type, shape, offset }))).toEqual(
      theirs.tensorInfos.map(({ name, dtype, shape, offset }) => ({
        name,
        type: GGMLQuantizationType[dtype],
        shape: shape.map(Number),
        offset: Number(theirs.tensorDataOffset + offset),
      })),
    );
    await ours.close();
  });

  test("its tensors fill the file to its end", async () => {
    const file = await open(path);
    const last = [...file.tensors.values()].at(-1);
    if (last !== undefined) {
      const rest = file.bytes - (last.offset + last.bytes);
      expect(rest).toBeGreaterThanOrEqual(0);
      expect(rest).toBeLessThan(32);
    }
    await file.close();
  });
});
