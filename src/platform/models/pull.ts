// Fetches models by name into the cache folder, once: `hf:OWNER/REPO[:QUANT|/FILE.gguf]` from
// Hugging Face's hub, or the address of a file.
// In this room: what a name stands for, where its files are and how they get here. Not in it: what
// is in them (engine/gguf), and how it looks on a terminal (cli/).

import { dirname } from "node:path";
import { UserError } from "../../errors.ts";
import {
  abortSignal,
  callback,
  quoteValue,
  type Readers,
  readOptions,
  text,
} from "../../option-reader.ts";
import { makeFolderOf } from "../user-file.ts";
import { NewFile } from "../write-file.ts";
import { ChangedError, download, probe, type RemoteFile, type Watching } from "./download.ts";
import { claimDraft, release } from "./drafts.ts";
import { fileAddress, hubAddress, hubToken, listRepository } from "./hub.ts";
import {
  addressName,
  addressPath,
  cachedFile,
  hasChecksum,
  hubFileName,
  hubPath,
  isVersion,
  markUsed,
  readListing,
  removeRecord,
  sizeOf,
  writeListing,
  writeRecord,
} from "./model-cache.ts";
import { chooseFiles, shardNames } from "./model-files.ts";
import { type HubName, type ModelName, parseModelName } from "./model-name.ts";
import { pause, persist } from "./retry.ts";
import { versionKey } from "./version.ts";
import { Web } from "./web.ts";

/** How far a model is fetched. */
export interface PullProgress {
  /** The file that is fetched now: "hf:OWNER/REPO/FILE.gguf". */
  readonly file: string;
  /** Bytes of all its files: how many are here, and how many there are as far as that is known. */
  readonly done: number;
  readonly total: number;
}

export interface PullOptions {
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
  /** Hears of breaks and waits: each is one line. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** Stops with the signal's reason; the next pull goes on from there. */
  readonly signal?: AbortSignal | undefined;
}

export const PULL_READERS = {
  onProgress: callback,
  onWarning: callback,
  signal: abortSignal,
} satisfies Readers<PullOptions>;

/** A model that is here. */
export interface PulledModel {
  /** What to open: the first of its files. */
  readonly path: string;
  /** All its files, in order. */
  readonly files: readonly PulledFile[];
  /** The sizes of all its files. */
  readonly bytes: number;
}

export interface PulledFile {
  /** "hf:OWNER/REPO/FILE.gguf", or an address without its query. */
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  /** That the server promised and the bytes have; undefined if it promised none. */
  readonly sha256: string | undefined;
}

/**
 * Fetches a model, or what of it is not here yet, and gives its files; a newer version takes the
 * place of an older. `name` is `hf:OWNER/REPO`, `hf:OWNER/REPO:QUANT`, `hf:OWNER/REPO/FILE.gguf` or
 * an https address. Files lie in the folder `models` below DAWNSTREAM_CACHE, or below
 * ~/.cache/dawnstream (or its like). HF_TOKEN, HF_ENDPOINT, HTTPS_PROXY, HTTP_PROXY and NO_PROXY are
 * honoured. Throws a `UserError` that says in one line what is wrong.
 */
export async function pullModel(name: string, options: PullOptions = {}): Promise<PulledModel> {
  const watch = readOptions("pullModel", options, PULL_READERS);
  const hub = hubAddress();
  const parsed = parseModelName(text(name, "name"), hub);
  if (parsed === undefined) {
    throw new UserError(
      `${quoteValue(name)} is not a name of a model: expected hf:OWNER/REPO, with :QUANT or /FILE.gguf behind it, or an https:// address.`,
    );
  }
  return pull(parsed, hub, watch);
}

/**
 * The path of a model that is given by path or name; a model that is not in the cache is fetched
 * first. The cache is not compared with the hub again: `pullModel` does that.
 */
export async function localModel(name: string, options: PullOptions = {}): Promise<string> {
  if (!/^(hf|https?):/i.test(name)) return name;
  const hub = hubAddress();
  const parsed = parseModelName(name, hub);
  if (parsed === undefined) return name;
  const paths =
    (await cachedPaths(parsed)) ?? (await pull(parsed, hub, options)).files.map(({ path }) => path);
  for (const path of paths) await markUsed(path);
  return paths[0]!;
}

/** The files of a model if all of them are in the cache. */
async function cachedPaths(name: ModelName): Promise<string[] | undefined> {
  const files = await expectedFiles(name);
  if (files === undefined) return undefined;
  for (const { path, name } of files) {
    if ((await cachedFile(path, name)) === undefined) return undefined;
  }
  return files.map(({ path }) => path);
}

/** By what the hub had when it was last asked. */
async function expectedFiles(
  name: ModelName,
): Promise<Pick<Wanted, "name" | "path">[] | undefined> {
  if (name.kind === "address") {
    return shardAddresses(name.url).map((url) => ({
      name: addressName(url),
      path: addressPath(url),
    }));
  }
  const listing = await readListing(name.repo);
  if (listing === undefined) return undefined;
  try {
    return chooseFiles(listing, name).map(({ path }) => ({
      name: hubFileName(name.repo, path),
      path: hubPath(name.repo, path),
    }));
  } catch (error) {
    if (error instanceof UserError) return undefined; // the hub may have more now
    throw error;
  }
}

/** A file that is to be there. */
interface Wanted extends RemoteFile {
  /** Its place. */
  readonly path: string;
}

async function pull(name: ModelName, hub: URL, options: PullOptions): Promise<PulledModel> {
  const { signal, onWarning = () => {}, onProgress = () => {} } = options;
  const watching = { onBytes: () => {}, onWarning, signal };
  const web = await Web.open({ hub, token: hubToken(), signal });
  try {
    return await attempt();
  } catch (error) {
    if (!(error instanceof ChangedError)) throw error;
    onWarning(error.message.replace("try again", "it is fetched anew"));
    return await attempt(); // once: what changes all the time is not to be had
  } finally {
    await web.close();
  }

  async function attempt(): Promise<PulledModel> {
    const files = await wantedFiles(web, hub, name, watching);
    const total = files.reduce((sum, { version }) => sum + (version.size ?? 0), 0);
    const pulled: PulledFile[] = [];
    let before = 0;
    for (const file of files) {
      const onBytes = (bytes: number) => {
        const done = before + bytes;
        onProgress({ file: file.name, done, total: Math.max(total, done) });
      };
      const one = await pullFile(web, file, { ...watching, onBytes });
      before += one.bytes;
      pulled.push(one);
    }
    return { path: pulled[0]!.path, files: pulled, bytes: before };
  }
}

/** The files of a model as the server has them now. */
async function wantedFiles(
  web: Web,
  hub: URL,
  name: ModelName,
  watching: Watching,
): Promise<Wanted[]> {
  if (name.kind === "hub") return wantedOfHub(web, hub, name, watching);
  const files: Wanted[] = [];
  for (const url of shardAddresses(name.url)) {
    const shown = addressName(url);
    const version = await probe(web, url, shown, watching);
    files.push({ name: shown, url, version, path: addressPath(url) });
  }
  return files;
}

async function wantedOfHub(
  web: Web,
  hub: URL,
  name: HubName,
  { onWarning, signal }: Watching,
): Promise<Wanted[]> {
  const { repo } = name;
  const listing = await persist(() => listRepository(web, hub, repo), {
    onWait: onWarning,
    signal,
  });
  const chosen = chooseFiles(listing, name);
  await writeListing(repo, listing);
  return chosen.map(({ path, size, checksum }) => ({
    name: hubFileName(repo, path),
    url: fileAddress(hub, repo, path),
    version: { size, checksum, etag: undefined },
    path: hubPath(repo, path),
  }));
}

/** The addresses of all files of a split model. */
function shardAddresses(url: URL): URL[] {
  return shardNames(url.pathname).map((pathname) => Object.assign(new URL(url), { pathname }));
}

/** How often it is looked if another process has finished, in milliseconds. */
const LOOK_MS = 250;

async function pullFile(web: Web, file: Wanted, watching: Watching): Promise<PulledFile> {
  const { name, path, version } = file;
  await makeFolderOf(path);
  let isWaiting = false;
  for (;;) {
    if (await isThere(file, watching.signal)) return pulledFile(file);
    const draft = await claimDraft(path, versionKey(version));
    if (draft !== undefined) {
      try {
        await fetchInto(draft, web, file, watching);
        return await pulledFile(file);
      } finally {
        release(draft);
      }
    }
    if (!isWaiting) watching.onWarning(`Another process fetches ${name}: waiting for it.`);
    isWaiting = true;
    await pause(LOOK_MS, watching.signal);
  }
}

/** The old version stays until the new one is whole, and the draft if it cannot be completed. */
async function fetchInto(
  draft: string,
  web: Web,
  { path, ...remote }: Wanted,
  watching: Watching,
): Promise<void> {
  const file = await NewFile.resume(path, draft);
  try {
    await download(web, remote, file, dirname(path), watching);
    await removeRecord(path);
  } catch (error) {
    const isEmpty = (await file.length().catch(() => 1)) === 0;
    await (isEmpty || error instanceof ChangedError ? file.discard() : file.keep());
    throw error;
  }
  await file.commit();
  await writeRecord(path, remote.name, remote.version);
}

/**
 * Whether the file is there in this version. One without a record, which a user has put there or a
 * process that was ended, is compared with its checksum.
 */
async function isThere({ name, path, version }: Wanted, signal?: AbortSignal): Promise<boolean> {
  const cached = await cachedFile(path, name);
  if (cached !== undefined) return isVersion(cached, version);
  const { size, checksum } = version;
  if (checksum === undefined || (await sizeOf(path)) !== size) return false;
  if (!(await hasChecksum(path, checksum, signal))) return false;
  await writeRecord(path, name, version);
  return true;
}

async function pulledFile({ name, path, version }: Wanted): Promise<PulledFile> {
  await markUsed(path);
  const bytes = (await cachedFile(path, name))?.version.size;
  if (bytes === undefined) throw new UserError(`${path} was removed while it was fetched.`);
  const { checksum } = version;
  return { name, path, bytes, sha256: checksum?.kind === "sha256" ? checksum.hex : undefined };
}
