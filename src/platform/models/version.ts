// What a file on a server is: its size, and what marks its bytes.

import { createHash, type Hash } from "node:crypto";
import { digest } from "./drafts.ts";

/** What a file's bytes must give: a SHA-256, or, for one that is not in large storage, git's own. */
export interface Checksum {
  readonly kind: "sha256" | "git";
  /** In hexadecimal digits. */
  readonly hex: string;
}

/** By this, two answers are known to be parts of the same file. */
export interface Version {
  /** In bytes; undefined if the server does not say. */
  readonly size: number | undefined;
  readonly checksum: Checksum | undefined;
  /** The server's own mark of a version, if it stands for its bytes. */
  readonly etag: string | undefined;
}

/** What a version's draft is called by. */
export function versionKey({ size, checksum, etag }: Version): string {
  return digest([checksum?.hex ?? etag ?? "", size ?? ""].join(" "));
}

/** What gives a checksum of this kind once all bytes are in; SHA-256 if none is known. */
export function newHash(checksum: Checksum | undefined, size: number | undefined): Hash {
  if (checksum?.kind !== "git") return createHash("sha256");
  return createHash("sha1").update(`blob ${size}\0`); // what git names a file by
}
