// Writes files completely or not at all: results, pictures, conversations, indexes, measured
// figures, models. Each is written under a temporary name in the same folder, flushed, and renamed
// when it is complete, so that a full disk, an error or the end of the process leaves the old file
// as it was, and two processes never mix their bytes.

import { randomUUID } from "node:crypto";
import { rmSync, type Stats } from "node:fs";
import {
  access,
  constants,
  type FileHandle,
  open,
  readlink,
  realpath,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { UserError } from "../errors.ts";
import { reason } from "./file.ts";

/**
 * A file that is being written. Until `commit`, its name has the old content, or no file; `discard`
 * leaves it so. Call one of the two.
 *
 * A symbolic link is written through, as editors do: the file it leads to is replaced and the link
 * stays. An old file's mode is kept, and its owner if the process may set it; a hard link becomes a
 * file of its own. A target that is not a regular file, such as a device, a pipe or `/dev/stdout`,
 * is written directly.
 */
export class NewFile {
  /** As the user named it, for messages. */
  readonly #path: string;
  readonly #handle: FileHandle;
  /** The temporary name and the target; undefined if the target is written directly. */
  readonly #names: { readonly draft: string; readonly target: string } | undefined;

  private constructor(
    path: string,
    handle: FileHandle,
    names?: { readonly draft: string; readonly target: string },
  ) {
    this.#path = path;
    this.#handle = handle;
    this.#names = names;
  }

  /**
   * Throws a `UserError` that says in one line why a file cannot be written there. `mode` replaces
   * the old file's.
   */
  static async create(path: string, mode?: number): Promise<NewFile> {
    try {
      const old = await stat(path).catch(absent);
      if (isDescriptor(path) || (old && !old.isFile())) {
        return new NewFile(path, await open(path, constants.O_WRONLY | constants.O_APPEND));
      }
      const target = await targetOf(path);
      if (old) await access(target, constants.W_OK); // a rename would not ask
      return await NewFile.#draft(path, target, old, mode);
    } catch (error) {
      throw unwritable(path, error);
    }
  }

  static async #draft(
    path: string,
    target: string,
    old: Stats | undefined,
    mode = old && old.mode & 0o777,
  ): Promise<NewFile> {
    // A name as long as the target's with something added could be too long for the folder.
    const draft = join(dirname(target), `.dawnstream-${randomUUID()}.part`);
    // Exclusive creation follows no link. Until its mode is set, only the owner reads what replaces
    // an old file.
    const handle = await open(draft, "wx", mode === undefined ? 0o666 : 0o600);
    const file = new NewFile(path, handle, { draft, target });
    unfinished.add(draft);
    try {
      if (old) await handle.chown(old.uid, old.gid).catch(() => {}); // only root may give a file away
      if (mode !== undefined) await handle.chmod(mode);
      return file;
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  /**
   * Goes on with a draft that lies in the folder of `path` and that no other process writes, or
   * begins it. It stays if the process ends: `keep` it, `discard` it or `commit` it.
   */
  static async resume(path: string, draft: string): Promise<NewFile> {
    try {
      const handle = await open(draft, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND);
      return new NewFile(path, handle, { draft, target: path });
    } catch (error) {
      throw unwritable(path, error);
    }
  }

  /** Bytes written so far, by this process and, of a draft that goes on, by others. */
  async length(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  /** What was written so far, part by part. */
  async *written(): AsyncGenerator<Uint8Array, void, void> {
    const part = new Uint8Array(1024 * 1024);
    for (let at = 0; ; ) {
      const { bytesRead } = await this.#handle.read(part, 0, part.length, at);
      if (bytesRead === 0) return;
      yield part.subarray(0, bytesRead);
      at += bytesRead;
    }
  }

  /** Drops what was written, to begin anew. */
  async clear(): Promise<void> {
    await this.#handle.truncate(0);
  }

  /** Closes a draft that will go on. */
  async keep(): Promise<void> {
    await this.#handle.close().catch(() => {});
  }

  /** Appends. Throws a `UserError` if it cannot; the file must still be discarded. */
  async write(data: string | Uint8Array): Promise<void> {
    try {
      await this.#handle.writeFile(data); // appends after the last write
    } catch (error) {
      throw unwritable(this.#path, error);
    }
  }

  /**
   * Puts the new file in the place of the old, on the disk too. Throws a `UserError`, and discards
   * it, if that fails.
   */
  async commit(): Promise<void> {
    try {
      if (this.#names) await this.#handle.sync();
      await this.#handle.close();
      if (!this.#names) return;
      const { draft, target } = this.#names;
      await rename(draft, target);
      unfinished.delete(draft);
      await flushFolder(dirname(target));
    } catch (error) {
      await this.discard();
      throw unwritable(this.#path, error);
    }
  }

  /** Keeps the old file, or none. Data already written to a device or a pipe stays there. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {});
    if (!this.#names) return;
    await rm(this.#names.draft, { force: true }).catch(() => {});
    unfinished.delete(this.#names.draft);
  }
}

/**
 * Writes a whole file: see `NewFile.create`. Throws a `UserError`, and leaves the old file, if it
 * cannot.
 */
export async function writeWholeFile(
  path: string,
  data: string | Uint8Array,
  mode?: number,
): Promise<void> {
  const file = await NewFile.create(path, mode);
  try {
    await file.write(data);
  } catch (error) {
    await file.discard();
    throw error;
  }
  await file.commit();
}

/** Temporary files of this process, deleted if it exits before they are complete. */
const unfinished = new Set<string>();
process.on("exit", () => {
  for (const draft of unfinished) rmSync(draft, { force: true });
});

/**
 * Whether a path is a file descriptor such as /dev/fd/3: replacing its file would not reach the
 * descriptor's reader.
 */
function isDescriptor(path: string): boolean {
  return /^\/(dev\/(stdin|stdout|stderr|fd\/)|proc\/)/.test(resolve(path));
}

/** The target of links, even if it does not exist. */
async function targetOf(path: string): Promise<string> {
  const found = await realpath(path).catch(absent);
  if (found !== undefined) return found;
  const link = await readlink(path).catch(() => undefined);
  return link === undefined ? path : targetOf(resolve(await realpath(dirname(path)), link));
}

/** Undefined if it does not exist; rethrows other errors. */
function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}

/**
 * A new name is on the disk only after its folder is flushed. Systems that cannot flush folders
 * keep names in a journal.
 */
async function flushFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}

function unwritable(path: string, error: unknown): UserError {
  return new UserError(`Cannot write ${path}: ${reason(error)}.`);
}
