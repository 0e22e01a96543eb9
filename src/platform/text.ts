// Reads texts from files, part by part.

import { createReadStream } from "node:fs";
import { UserError } from "../errors.ts";
import { text } from "../option-reader.ts";
import { reason } from "./file.ts";

/**
 * The text of a UTF-8 file of any size, or of a pipe, in parts of whole characters. Throws a
 * `UserError` if it cannot be read or is not UTF-8.
 */
export async function* streamText(path: string): AsyncGenerator<string, void, void> {
  text(path, "path");
  const bytes = createReadStream(path);
  try {
    yield* decodeText(path, bytes);
  } catch (error) {
    throw error instanceof UserError ? error : new UserError(`${path}: ${reason(error)}`);
  } finally {
    bytes.destroy();
  }
}

/** Bytes as UTF-8; `name` is their source, for errors. */
export async function* decodeText(
  name: string,
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const decode = (part?: Uint8Array) => {
    try {
      return decoder.decode(part, { stream: part !== undefined });
    } catch {
      throw new UserError(`${name}: it is not UTF-8 text`);
    }
  };
  for await (const part of bytes) yield decode(part);
  yield decode();
}
