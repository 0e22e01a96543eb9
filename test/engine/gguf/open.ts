import { expect } from "vitest";
import { GgufError, type GgufFile, openGguf } from "../../../src/engine/gguf/gguf.ts";
import { bytesSource } from "../../../src/engine/gguf/source.ts";
import { type GgufContents, writeGguf } from "../../support/gguf-writer.ts";

export function openBytes(bytes: Uint8Array): Promise<GgufFile> {
  return openGguf("test.gguf", async (path) => bytesSource(path, bytes));
}

export function openWritten(contents: GgufContents): Promise<GgufFile> {
  return openBytes(writeGguf(contents));
}

export interface Fault {
  readonly offset?: number;
  readonly expected: RegExp;
  readonly found: RegExp;
}

/** The file is refused by a GgufError that says where, what was expected and what was found. */
export async function expectFault(opening: Promise<GgufFile>, fault: Fault): Promise<GgufError> {
  const error = await opening.then(
    () => expect.fail("the file was accepted"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(GgufError);
  const ggufError = error as GgufError;
  expect(ggufError.offset).toBe(fault.offset);
  expect(ggufError.expected).toMatch(fault.expected);
  expect(ggufError.found).toMatch(fault.found);
  expect(ggufError.message).toContain(ggufError.file);
  expect(ggufError.message).toContain(ggufError.expected);
  expect(ggufError.message).not.toContain("\n");
  return ggufError;
}
