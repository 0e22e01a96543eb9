// Files that are written whole or not at all: results, pictures, conversations, indexes, measured numbers.
// Each is written under a name of its own in the same folder, flushed, and renamed when all of it is there, so that a full
// disk, an error or the end of the process leaves the old file as it was, and two processes never mix their bytes.

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
 * A file that is being written. Its name shows the old content, or nothing, until `commit`; `discard` leaves it so. One of the
 * two ends it.
 *
 * A symbolic link is written through, as editors do: the file it leads to is replaced and the link stays. An old file's mode
 * is kept, and its owner if the process may set it; a hard link becomes a file of its own. What is no regular file, such as
 * a device, a pipe or `/dev/stdout`, is written to directly.
 */
export class NewFile {
  /** As the user named it, for messages. */
  readonly #path: string;
  readonly #handle: FileHandle;
  /** What is to be renamed to what; undefined if it is written to directly. */
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

  /** Throws a `UserError` that says in one line why a file cannot be written there. `mode`: other than the old file's. */
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
    // Exclusive creation follows no link. Until its mode is set, only the owner reads what replaces an old file.
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

  /** Appends. Throws a `UserError` if it cannot; the file must still be discarded. */
  async write(data: string | Uint8Array): Promise<void> {
    try {
      await this.#handle.writeFile(data); // goes on where the last one ended
    } catch (error) {
      throw unwritable(this.#path, error);
    }
  }

  /** Puts the new file in the place of the old, on the disk too. Throws a `UserError`, and discards it, if that fails. */
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

  /** Leaves the old file, or none. What went to a device or a pipe stays there. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {});
    if (!this.#names) return;
    await rm(this.#names.draft, { force: true }).catch(() => {});
    unfinished.delete(this.#names.draft);
  }
}

/** Writes a whole file: see `NewFile.create`. Throws a `UserError`, and leaves the old file, if it cannot. */
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

/** Drafts of this process, which go with it if it exits before they are whole. */
const unfinished = new Set<string>();
process.on("exit", () => {
  for (const draft of unfinished) rmSync(draft, { force: true });
});

/** Whether a path means what is open under a number: replacing the file behind it would miss who reads that number. */
function isDescriptor(path: string): boolean {
  return /^\/(dev\/(stdin|stdout|stderr|fd\/)|proc\/)/.test(resolve(path));
}

/** Where links lead, whether or not there is a file at their end. */
async function targetOf(path: string): Promise<string> {
  const found = await realpath(path).catch(absent);
  if (found !== undefined) return found;
  const link = await readlink(path).catch(() => undefined);
  return link === undefined ? path : targetOf(resolve(await realpath(dirname(path)), link));
}

/** Undefined if nothing is there; other errors stay errors. */
function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}

/** The new name itself is on the disk only when its folder is. Systems that flush no folders keep names in a journal. */
async function flushFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}

function unwritable(path: string, error: unknown): UserError {
  return new UserError(`Cannot write ${path}: ${reason(error)}.`);
}
