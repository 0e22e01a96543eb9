// Which model a file holds, told from all others without reading gigabytes.

import type { GgufFile } from "./gguf/gguf.ts";

/** Bytes of each tensor that count: training hardly leaves the beginning of a tensor alone and changes the rest. */
const SAMPLE_BYTES = 4096;

/** SHA-256, in hexadecimal, of the names, types and shapes of all tensors, of the first bytes of each, and of a setting. */
export async function fingerprint({ tensors }: GgufFile, setting: object): Promise<string> {
  const parts: (string | Uint8Array<ArrayBuffer>)[] = [JSON.stringify(setting)];
  for (const { name, type, shape, offset, bytes, source } of tensors.values()) {
    const sample = new Uint8Array(Math.min(bytes, SAMPLE_BYTES));
    await source.read(offset, sample);
    parts.push(JSON.stringify([name, type, shape]), sample);
  }
  const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
