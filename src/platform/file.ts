import { constants } from "node:fs";
import { access, type FileHandle, open, stat } from "node:fs/promises";
import type { ByteSource } from "../engine/gguf/source.ts";
import { UserError } from "../errors.ts";

/** One read call asks for no more than this: Node refuses lengths beyond 2^31 - 1. */
const LARGEST_READ = 1024 * 1024 * 1024;

/** Opens a file for reading at any offset; bytes are read on demand. */
export async function openFile(path: string): Promise<ByteSource> {
  const { handle, size } = await openRegular(path);
  return {
    name: path,
    size,
    read: (offset, into) => readFully(handle, path, offset, into),
    close: () => handle.close(),
  };
}

async function openRegular(path: string): Promise<{ handle: FileHandle; size: number }> {
  try {
    // Checked before it is opened: opening a pipe waits for a writer, perhaps forever.
    const stats = await stat(path);
    if (stats.isDirectory()) throw new UserError(`${path}: it is a directory, not a file`);
    if (!stats.isFile()) throw new UserError(`${path}: it is a device or a pipe, not a file`);
    await access(path, constants.R_OK);
    return { handle: await open(path, "r"), size: stats.size };
  } catch (error) {
    throw error instanceof UserError ? error : new UserError(`${path}: ${reason(error)}`);
  }
}

async function readFully(
  handle: FileHandle,
  path: string,
  offset: number,
  into: Uint8Array,
): Promise<void> {
  for (let filled = 0; filled < into.length; ) {
    const length = Math.min(into.length - filled, LARGEST_READ);
    const at = offset + filled;
    const { bytesRead } = await handle.read(into, filled, length, at).catch((error: unknown) => {
      throw new UserError(`${path}: reading at byte ${at} failed: ${reason(error)}`);
    });
    if (bytesRead === 0) {
      throw new UserError(
        `${path}: it ends at byte ${at}, and ${length} more were to be read; has it been changed meanwhile?`,
      );
    }
    filled += bytesRead;
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EISDIR: "it is a directory, not a file",
  ENOENT: "no such file or folder",
  ENOTDIR: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the disk",
  EDQUOT: "no space left: the quota is used up",
  EFBIG: "the file would be larger than the system allows (see `ulimit -f`)",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "its links lead in a circle",
};

/** Why a file cannot be read or written, in plain words. */
export function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return REASONS[code ?? ""] ?? message;
}
