// Names of models that are fetched: `hf:OWNER/REPO[:QUANT|/FILE.gguf]` on Hugging Face's hub, and
// addresses. Everything else is the path of a file.

import { UserError } from "../../errors.ts";
import { quoteValue } from "../../option-reader.ts";

/** A repository of the hub, and which of its files. */
export interface HubName {
  readonly kind: "hub";
  /** "OWNER/REPO" */
  readonly repo: string;
  /** Of the weights, such as "Q4_K_M" or "UD-Q4_K_XL". */
  readonly quant?: string;
  /** A path within the repository. */
  readonly file?: string;
}

/** A file on any other server; the query may hold a secret and is not shown. */
export interface Address {
  readonly kind: "address";
  readonly url: URL;
}

export type ModelName = HubName | Address;

const FORM = "hf:OWNER/REPO, hf:OWNER/REPO:QUANT or hf:OWNER/REPO/FILE.gguf";

/**
 * Undefined for the path of a file. `hub` is the hub's own address: a page or file of it that is
 * given by address is read as its name, so that its checksum is known. Throws a `UserError`.
 */
export function parseModelName(name: string, hub: URL): ModelName | undefined {
  if (/^hf:/i.test(name)) return hubName(name);
  if (!/^https?:\/\//i.test(name)) return undefined;
  const url = checkedAddress(name, "A model's address");
  return nameOnHub(url, hub) ?? fileAddress(url);
}

function hubName(name: string): HubName {
  const [, owner, repo, quant, file] =
    /^hf:([^/:]+)\/([^/:]+)(?::([^/:]+)|\/(.+))?$/i.exec(name) ?? [];
  if (owner === undefined || repo === undefined || ![owner, repo].every(isRepoWord)) {
    throw new UserError(`Invalid model ${quoteValue(name)}: expected ${FORM}.`);
  }
  if (quant !== undefined && !/^\w+([.-]\w+)*$/.test(quant)) {
    throw new UserError(
      `Invalid model ${quoteValue(name)}: expected a type of weights such as Q4_K_M behind the colon.`,
    );
  }
  if (file !== undefined && !isStorable(file)) {
    throw new UserError(
      `Invalid model ${quoteValue(name)}: expected the name of a .gguf file behind the repository.`,
    );
  }
  return {
    kind: "hub",
    repo: `${owner}/${repo}`,
    ...(quant !== undefined && { quant }),
    ...(file !== undefined && { file }),
  };
}

/** As the hub allows: letters, digits, "-", "_" and "." between others. */
function isRepoWord(word: string): boolean {
  return word.length <= 96 && /^\w+([.-]+\w+)*$/.test(word) && isSafe(word);
}

/** A file of the hub's main branch, by the address of its page or of the file itself. */
function nameOnHub(url: URL, hub: URL): HubName | undefined {
  if (url.origin !== hub.origin) return undefined;
  const path = decoded(url.pathname.slice(hub.pathname.length)) ?? "";
  const [, repo, file] = /^([^/]+\/[^/]+)\/(?:blob|resolve)\/main\/(.+)$/.exec(path) ?? [];
  return repo === undefined ? undefined : hubName(`hf:${repo}/${file}`);
}

function fileAddress(url: URL): Address {
  const segments = segmentsOf(url);
  if (!segments.at(-1)?.endsWith(".gguf") || !segments.every(isSafe)) {
    throw new UserError(
      `Invalid model ${quoteValue(shownAddress(url))}: expected the address of a .gguf file.`,
    );
  }
  return { kind: "address", url };
}

/** The parts of an address's path, as they are called in a folder. */
export function segmentsOf(url: URL): string[] {
  return url.pathname
    .slice(1)
    .split("/")
    .map((part) => decoded(part) ?? "");
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/**
 * Reads an address that a user gives. It must be https, but for a server on this machine, and hold
 * no password; the error does not repeat one. `what` begins the error.
 */
export function checkedAddress(text: string, what: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) {
    throw new UserError(`${what} is no URL: ${quoteValue(text)}.`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new UserError(`${what} must not hold a user name or a password.`);
  }
  if (!isAllowed(url)) {
    throw new UserError(
      `${what} must begin with https://; http:// is for this machine only: ${quoteValue(shownAddress(url))}.`,
    );
  }
  url.hash = "";
  return url;
}

/** Whether nobody between here and there can read or change what is sent. */
export function isAllowed(url: URL): boolean {
  return url.protocol === "https:" || (url.protocol === "http:" && isLocal(url));
}

function isLocal({ hostname }: URL): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}

/** An address without its query, which may hold a secret. */
export function shownAddress(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/** As a user types it. */
export function shownName(name: ModelName): string {
  if (name.kind === "address") return shownAddress(name.url);
  const { repo, quant, file } = name;
  const end = quant !== undefined ? `:${quant}` : file !== undefined ? `/${file}` : "";
  return `hf:${repo}${end}`;
}

// ---- names of files

/** What systems take for something else, or refuse. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** Names of files are longer while they are incomplete. */
const LONGEST = 180;

/**
 * Whether a part of a path, as a server names it, is the name of a file or folder on every system:
 * no "..", no drive, no device, nothing hidden, nothing that ends a path or is not shown.
 */
function isSafe(part: string): boolean {
  return (
    part !== "" &&
    Buffer.byteLength(part) <= LONGEST &&
    !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\\/:*?"<>|]/u.test(part) &&
    !/^[. ]|[. ]$/.test(part) &&
    !DEVICE.test(part)
  );
}

/** Whether a path within a repository is a GGUF file that can be stored below its folder. */
export function isStorable(path: string): boolean {
  return path.endsWith(".gguf") && path.split("/").every(isSafe);
}
