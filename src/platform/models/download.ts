// The bytes of one file from a server: goes on where an earlier run stopped, tries again after a
// break, and checks size and checksum.

import type { Hash } from "node:crypto";
import { statfs } from "node:fs/promises";
import { UserError } from "../../errors.ts";
import type { NewFile } from "../write-file.ts";
import { header, PassingError } from "./failures.ts";
import { persist } from "./retry.ts";
import { type Checksum, newHash, type Version } from "./version.ts";
import { type Answer, drop, type Web } from "./web.ts";

/** A file on a server. */
export interface RemoteFile {
  /** "hf:OWNER/REPO/FILE.gguf", for messages. */
  readonly name: string;
  readonly url: URL;
  readonly version: Version;
}

/** The hub or the server has another version than it said before. */
export class ChangedError extends UserError {}

export interface Watching {
  /** Gets the bytes that are there so far. */
  readonly onBytes: (bytes: number) => void;
  readonly onWarning: (message: string) => void;
  readonly signal: AbortSignal | undefined;
}

/** The version of a file that only its server knows: asks for its first byte. */
export async function probe(
  web: Web,
  url: URL,
  name: string,
  watching: Watching,
): Promise<Version> {
  const answer = await persist(() => web.get(url, name, { range: "bytes=0-0" }, [416]), {
    ...watching,
    onWait: watching.onWarning,
  });
  drop(answer.body);
  const [, whole] = /\/(\d+)$/.exec(header(answer.headers, "content-range") ?? "") ?? [];
  const size = answer.status === 200 ? header(answer.headers, "content-length") : whole;
  return {
    size: size !== undefined && /^\d+$/.test(size) ? Number(size) : undefined,
    ...markOf(answer),
  };
}

/** How an answer marks the version that it is of. */
function markOf({ headers, hub }: Answer): Pick<Version, "checksum" | "etag"> {
  const [, hex] = /^"?([0-9a-f]{64})"?$/.exec(header(hub, "x-linked-etag") ?? "") ?? [];
  const etag = header(headers, "etag");
  return {
    checksum: hex === undefined ? undefined : { kind: "sha256", hex },
    etag: etag?.startsWith('"') ? etag : undefined, // a weak one, W/"…", may be another's, too
  };
}

/**
 * Fetches what is missing of a file, which only this process writes and which is to be committed
 * then. `folder` is its own. Throws a `UserError`, or the signal's reason; bytes that are wrong are
 * cleared.
 */
export async function download(
  web: Web,
  remote: RemoteFile,
  file: NewFile,
  folder: string,
  watching: Watching,
): Promise<void> {
  const transfer = new Transfer(web, remote, file, watching);
  await transfer.begin(folder);
  await transfer.finish();
}

class Transfer {
  readonly #web: Web;
  readonly #remote: RemoteFile;
  readonly #file: NewFile;
  readonly #watching: Watching;
  #hash: Hash;
  /** Bytes in the file, and in the hash. */
  #bytes = 0;
  /** The most bytes that there have been. */
  #furthest = 0;

  constructor(web: Web, remote: RemoteFile, file: NewFile, watching: Watching) {
    this.#web = web;
    this.#remote = remote;
    this.#file = file;
    this.#watching = watching;
    this.#hash = this.#newHash();
  }

  /** Takes up what the file has, and checks that the folder has room for the rest. */
  async begin(folder: string): Promise<void> {
    const { name, version } = this.#remote;
    const { size = 0 } = version;
    const isTooLong = (await this.#file.length()) > (version.size ?? Number.POSITIVE_INFINITY);
    if (!this.#canGoOn || isTooLong) await this.#clear();
    for await (const part of this.#file.written()) {
      this.#watching.signal?.throwIfAborted();
      this.#take(part);
    }
    const disk = await statfs(folder).catch(() => undefined); // some systems cannot tell
    if (disk === undefined || size - this.#bytes <= disk.bavail * disk.bsize) return;
    throw new UserError(
      `${name} needs ${size - this.#bytes} more bytes, and ${folder} has ${disk.bavail * disk.bsize} free: make room, or name another folder in DAWNSTREAM_CACHE.`,
    );
  }

  /**
   * Fetches what is missing and checks the whole. If what an earlier run had left is wrong, begins
   * anew, once.
   */
  async finish(): Promise<void> {
    const resumed = this.#bytes > 0;
    await this.#fetch();
    const wrong = await this.#fault();
    if (wrong === undefined) return;
    await this.#clear();
    if (!resumed) throw new UserError(wrong);
    this.#watching.onWarning(`${wrong} It is fetched anew.`);
    await this.#fetch();
    const still = await this.#fault();
    if (still === undefined) return;
    await this.#clear();
    throw new UserError(still);
  }

  async #fetch(): Promise<void> {
    const { onWarning, signal } = this.#watching;
    this.#furthest = this.#bytes;
    const trying = { progress: () => this.#furthest, onWait: onWarning, signal };
    await persist(() => this.#try(), trying);
  }

  /** One request for what is missing. */
  async #try(): Promise<void> {
    const { name, url, version } = this.#remote;
    if (!this.#canGoOn) await this.#clear();
    if (version.size !== undefined && this.#bytes === version.size) return;
    const range = this.#bytes > 0 ? { range: `bytes=${this.#bytes}-` } : undefined;
    const answer = await this.#web.get(url, name, range, [416]);
    try {
      this.#checkVersion(answer);
      await this.#checkRange(answer);
    } catch (error) {
      drop(answer.body);
      throw error;
    }
    for await (const part of this.#web.parts(answer, name)) {
      if (version.size !== undefined && this.#bytes + part.length > version.size) {
        await this.#clear();
        throw new UserError(`${url.host} sends more for ${name} than its ${version.size} bytes.`);
      }
      await this.#file.write(part);
      this.#take(part);
    }
    if (version.size !== undefined && this.#bytes < version.size) {
      throw new PassingError(
        `${name}: ${answer.url.host}: the connection was cut at byte ${this.#bytes}.`,
      );
    }
  }

  #checkVersion(answer: Answer): void {
    const { name, version } = this.#remote;
    const { checksum, etag } = markOf(answer);
    const isOther =
      version.checksum?.kind === "sha256" && checksum !== undefined
        ? checksum.hex !== version.checksum.hex
        : version.checksum === undefined && etag !== version.etag;
    if (isOther)
      throw new ChangedError(`${name} has been changed while it was fetched: try again.`);
  }

  /** Makes the file end before the first byte of the answer. */
  async #checkRange({ status, headers, url }: Answer): Promise<void> {
    if (status === 200) return this.#clear(); // the whole, if a part was asked for or not
    const [, from, whole] =
      /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header(headers, "content-range") ?? "") ?? [];
    const { size } = this.#remote.version;
    const isRight = whole === "*" || size === undefined || Number(whole) === size;
    if (status === 206 && Number(from) === this.#bytes && isRight) return;
    await this.#clear();
    throw new PassingError(
      `${this.#remote.name}: ${url.host} gives other bytes than those missing.`,
    );
  }

  get #canGoOn(): boolean {
    const { checksum, etag } = this.#remote.version;
    return checksum !== undefined || etag !== undefined;
  }

  #take(part: Uint8Array): void {
    this.#hash.update(part);
    this.#bytes += part.length;
    this.#furthest = Math.max(this.#furthest, this.#bytes);
    this.#watching.onBytes(this.#bytes);
  }

  async #clear(): Promise<void> {
    await this.#file.clear();
    this.#hash = this.#newHash();
    this.#bytes = 0;
  }

  #newHash(): Hash {
    const { checksum, size } = this.#remote.version;
    return newHash(checksum, size);
  }

  /** What is wrong with the whole file; undefined if nothing is. */
  async #fault(): Promise<string | undefined> {
    const { name, version } = this.#remote;
    const length = await this.#file.length();
    if (length !== this.#bytes) {
      return `${name} is ${length} bytes long on the disk, and ${this.#bytes} were written: it was removed.`;
    }
    const { checksum } = version;
    if (checksum === undefined) return undefined;
    const found = this.#hash.digest("hex");
    if (found === checksum.hex) return undefined;
    return `${name} came damaged and was removed: its ${kindOf(checksum)} is ${found}, and ${checksum.hex} was promised.`;
  }
}

function kindOf({ kind }: Checksum): string {
  return kind === "git" ? "hash in git" : "SHA-256";
}
