// The folder that fetched models lie in, with names that a user can read:
// `models/hf/OWNER/REPO/FILE.gguf`, `models/https/HOST/PATH/FILE.gguf`. Beside each file is its
// record, `FILE.gguf.json`: what it is called, and what its bytes have to be. Beside the files of a
// repository is `files.json`: what the hub had, so that a name means the same without a network.

import { createReadStream } from "node:fs";
import { readdir, readFile, rm, rmdir, stat, utimes } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { isRecord } from "../../option-reader.ts";
import { makeFolderOf, userFile } from "../user-file.ts";
import { writeWholeFile } from "../write-file.ts";
import { digest, draftsIn } from "./drafts.ts";
import { fileOf, type RepositoryFile } from "./hub.ts";
import { segmentsOf, shownAddress } from "./model-name.ts";
import { type Checksum, newHash, type Version } from "./version.ts";

/** A file that is there whole. */
export interface CachedFile {
  /** "hf:OWNER/REPO/FILE.gguf", or an address without its query. */
  readonly name: string;
  readonly path: string;
  readonly version: Version;
  /** When it was fetched or, later, used. */
  readonly used: Date;
}

/** Where models lie. Throws if the user has no home. */
export function modelsFolder(env: NodeJS.ProcessEnv = process.env): string {
  return userFile("cache", "models", env);
}

/** Where a file of a repository lies. */
export function hubPath(repo: string, file = ""): string {
  return join(modelsFolder(), "hf", ...repo.split("/"), ...file.split("/"));
}

/** Where the file of an address lies; addresses that differ in their query are different files. */
export function addressPath(url: URL): string {
  const { protocol, host, search } = url;
  const segments = segmentsOf(url);
  const file = segments.pop() ?? "";
  const isSame = search === "" || search === "?download=true";
  return join(
    modelsFolder(),
    protocol.slice(0, -1),
    host.replaceAll(/[^\w.-]/g, "_"), // ports and IPv6 have colons
    ...segments,
    ...(isSame ? [] : [digest(search)]),
    file,
  );
}

/** What a file of a repository is called. */
export function hubFileName(repo: string, file: string): string {
  return `hf:${repo}/${file}`;
}

export function addressName(url: URL): string {
  return shownAddress(url);
}

// ---- records

const recordPath = (path: string) => `${path}.json`;

/**
 * The file at a path, if it is there whole under this name: names that differ by letter case only
 * are one file on many systems.
 */
export async function cachedFile(path: string, name?: string): Promise<CachedFile | undefined> {
  const record = await readJson(recordPath(path));
  const size = await sizeOf(path);
  if (size === undefined || !isRecord(record) || typeof record.name !== "string") return undefined;
  if (record.size !== size || (name !== undefined && record.name !== name)) return undefined;
  const { sha256, git, etag } = record;
  const checksum: Checksum | undefined =
    typeof sha256 === "string"
      ? { kind: "sha256", hex: sha256 }
      : typeof git === "string"
        ? { kind: "git", hex: git }
        : undefined;
  const used = await stat(recordPath(path)).then(({ mtime }) => mtime);
  const mark = typeof etag === "string" ? etag : undefined;
  return { name: record.name, path, version: { size, checksum, etag: mark }, used };
}

/** Whether a record is of this version, as far as both say. */
export function isVersion(file: CachedFile, { size, checksum, etag }: Version): boolean {
  if (size !== undefined && file.version.size !== size) return false;
  if (checksum !== undefined) return file.version.checksum?.hex === checksum.hex;
  return etag !== undefined && file.version.etag === etag;
}

/** Says that a file is there whole. */
export async function writeRecord(path: string, name: string, version: Version): Promise<void> {
  const { checksum, etag } = version;
  const size = await sizeOf(path);
  const record = { name, size, ...(checksum && { [checksum.kind]: checksum.hex }), etag };
  await writeWholeFile(recordPath(path), `${JSON.stringify(record, null, 2)}\n`);
}

/** Before its file is replaced or removed. */
export async function removeRecord(path: string): Promise<void> {
  await rm(recordPath(path), { force: true });
}

/** Notes that a file is used now; a cache that cannot be written to is used all the same. */
export async function markUsed(path: string): Promise<void> {
  const now = new Date();
  await utimes(recordPath(path), now, now).catch(() => {});
}

/** Whether the bytes of a file give this checksum; false if it cannot be read. */
export async function hasChecksum(
  path: string,
  checksum: Checksum,
  signal?: AbortSignal,
): Promise<boolean> {
  const hash = newHash(checksum, await sizeOf(path));
  try {
    for await (const part of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
      signal?.throwIfAborted();
      hash.update(part as Uint8Array);
    }
  } catch {
    signal?.throwIfAborted();
    return false;
  }
  return hash.digest("hex") === checksum.hex;
}

/** Undefined if there is no such file. */
export async function sizeOf(path: string): Promise<number | undefined> {
  const stats = await stat(path).catch(() => undefined);
  return stats?.isFile() ? stats.size : undefined;
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    return undefined;
  }
}

// ---- what the hub had

const listingPath = (repo: string) => join(hubPath(repo), "files.json");

export async function writeListing(repo: string, files: readonly RepositoryFile[]): Promise<void> {
  const items = files.map(({ path, size, checksum: { kind, hex } }) =>
    kind === "git"
      ? { type: "file", path, size, oid: hex }
      : { type: "file", path, lfs: { size, oid: hex } },
  );
  await makeFolderOf(listingPath(repo));
  await writeWholeFile(listingPath(repo), `${JSON.stringify({ repo, items }, null, 2)}\n`);
}

/** The files that a repository had; undefined if it was never asked for. */
export async function readListing(repo: string): Promise<RepositoryFile[] | undefined> {
  const listing = await readJson(listingPath(repo));
  if (!isRecord(listing) || listing.repo !== repo || !Array.isArray(listing.items))
    return undefined;
  return listing.items.flatMap((item) => fileOf(item) ?? []);
}

// ---- all that is there

/** A file in the cache, or a part of one. */
export interface StoredFile {
  readonly name: string;
  readonly path: string;
  /** That it takes on the disk. */
  readonly bytes: number;
  readonly used: Date;
  readonly isComplete: boolean;
  /** Whether a process fetches it now. */
  readonly isBusy: boolean;
}

/** All files in the cache, by name. */
export async function storedFiles(): Promise<StoredFile[]> {
  const files: StoredFile[] = [];
  for await (const folder of foldersIn(modelsFolder())) {
    for (const { path, target, bytes, time, state } of await draftsIn(folder)) {
      const name = nameOfPath(target);
      files.push({ name, path, bytes, used: time, isComplete: false, isBusy: state === "busy" });
    }
    for (const entry of await readdir(folder)) {
      if (!entry.endsWith(".gguf")) continue;
      const path = join(folder, entry);
      const stats = await stat(path).catch(() => undefined);
      if (!stats?.isFile()) continue;
      const cached = await cachedFile(path);
      const { name = nameOfPath(path), used = stats.mtime } = cached ?? {};
      const isComplete = cached !== undefined;
      files.push({ name, path, bytes: stats.size, used, isComplete, isBusy: false });
    }
  }
  return files.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

async function* foldersIn(folder: string): AsyncGenerator<string, void, void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return;
  yield folder;
  for (const entry of entries) if (entry.isDirectory()) yield* foldersIn(join(folder, entry.name));
}

/** What a file without a record is called. */
function nameOfPath(path: string): string {
  const [kind = "", ...parts] = path.slice(modelsFolder().length + 1).split(sep);
  return kind === "hf" ? `hf:${parts.join("/")}` : `${kind}://${parts.join("/")}`;
}

/** Removes files with their records, and folders that are empty then. */
export async function removeFiles(files: readonly StoredFile[]): Promise<void> {
  for (const { path } of files) {
    await removeRecord(path); // first, so that nothing takes half a model for a whole one
    await rm(path, { force: true });
  }
  for (const folder of new Set(files.map(({ path }) => dirname(path)))) await removeEmpty(folder);
}

async function removeEmpty(folder: string): Promise<void> {
  if (!folder.startsWith(modelsFolder() + sep)) return;
  const rest = await readdir(folder).catch(() => []);
  if (rest.length === 1 && rest[0] === "files.json") await rm(join(folder, "files.json"));
  try {
    await rmdir(folder); // only if it is empty
  } catch {
    return;
  }
  await removeEmpty(dirname(folder));
}
