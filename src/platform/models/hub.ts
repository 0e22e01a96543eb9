// Hugging Face's hub: where it is, what a repository holds, and the address of a file.

import { UserError } from "../../errors.ts";
import { isRecord, isWhole } from "../../option-reader.ts";
import { checkedAddress, isStorable } from "./model-name.ts";
import type { Checksum } from "./version.ts";
import type { Web } from "./web.ts";

/** A GGUF file of a repository. */
export interface RepositoryFile {
  /** Within the repository, with "/". */
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  readonly checksum: Checksum;
}

/** A folder's listing comes in pages; nothing that holds a model has more of them. */
const MOST_PAGES = 50;

/** Hugging Face's address, or HF_ENDPOINT, as its own programs read it; with a "/" at the end. */
export function hubAddress(env: NodeJS.ProcessEnv = process.env): URL {
  const url = checkedAddress(env.HF_ENDPOINT?.trim() || "https://huggingface.co", "HF_ENDPOINT");
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  url.search = "";
  return url;
}

/** HF_TOKEN. Throws a `UserError`, which does not show it, if it cannot be a token. */
export function hubToken(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const token = env.HF_TOKEN?.trim();
  if (!token) return undefined;
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new UserError("HF_TOKEN has a character that no token has: set it to the token alone.");
}

/** The address of a file on the repository's main branch. */
export function fileAddress(hub: URL, repo: string, path: string): URL {
  const escaped = path.split("/").map(encodeURIComponent).join("/");
  return new URL(`${repo}/resolve/main/${escaped}`, hub);
}

/**
 * The GGUF files of a repository in the hub's order, but for those whose names no file here could
 * have. Throws a `UserError`.
 */
export async function listRepository(web: Web, hub: URL, repo: string): Promise<RepositoryFile[]> {
  const files: RepositoryFile[] = [];
  let next: URL | undefined = new URL(`api/models/${repo}/tree/main?recursive=true`, hub);
  for (let page = 0; next !== undefined; page++) {
    if (page === MOST_PAGES) throw new UserError(`hf:${repo} has too many files to be listed.`);
    const { items, link } = await web.json(next, `hf:${repo}`);
    if (!Array.isArray(items)) {
      throw new UserError(`${hub.host} gave no list of files for hf:${repo}.`);
    }
    files.push(...items.flatMap((item) => fileOf(item) ?? []));
    next = nextPage(link, next);
  }
  return files;
}

/** An entry of a listing as a file that can be fetched and checked; undefined for all others. */
export function fileOf(item: unknown): RepositoryFile | undefined {
  if (!isRecord(item) || item.type !== "file") return undefined;
  const { path, oid } = item;
  const lfs = isRecord(item.lfs) ? item.lfs : undefined;
  const size = lfs?.size ?? item.size;
  if (typeof path !== "string" || !isStorable(path) || !isWhole(size, 0)) return undefined;
  if (isHex(lfs?.oid, 64)) return { path, size, checksum: { kind: "sha256", hex: lfs.oid } };
  if (lfs === undefined && isHex(oid, 40)) {
    return { path, size, checksum: { kind: "git", hex: oid } };
  }
  return undefined;
}

function isHex(value: unknown, digits: number): value is string {
  return typeof value === "string" && value.length === digits && /^[0-9a-f]+$/.test(value);
}

/** The address of the next page, which no other server may have. */
function nextPage(link: string | undefined, page: URL): URL | undefined {
  const [, address] = /<([^>]+)>\s*;\s*rel="?next"?/.exec(link ?? "") ?? [];
  if (address === undefined || !URL.canParse(address, page.href)) return undefined;
  const next = new URL(address, page);
  if (next.origin === page.origin) return next;
  throw new UserError(`${page.host} continues its listing on another server, ${next.host}.`);
}
