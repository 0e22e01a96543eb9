// What can go wrong on the way to a server, in words, and which of it may pass by itself.

import { UserError } from "../../errors.ts";

/** May succeed if it is tried again: a server is busy, or a connection was cut. */
export class PassingError extends UserError {
  /** What the server asks to wait before that, in milliseconds. */
  readonly waitMs: number | undefined;
  /** Nothing was reached, as without a network. */
  readonly isUnreached: boolean;

  constructor(
    message: string,
    { waitMs, isUnreached = false }: { waitMs?: number | undefined; isUnreached?: boolean } = {},
  ) {
    super(message);
    this.waitMs = waitMs;
    this.isUnreached = isUnreached;
  }
}

/** Where an answer came from and what had been asked, for messages. */
export interface Asked {
  /** "hf:OWNER/REPO/FILE.gguf" */
  readonly name: string;
  readonly url: URL;
  /** Whether it is the hub's answer, and not another server's. */
  readonly isHub: boolean;
  readonly hasToken: boolean;
}

export type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** One value of a header. */
export function header(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** What an answer that is no success means. What the server says itself is not repeated. */
export function statusError(asked: Asked, status: number, headers: Headers): UserError {
  const { name, url, isHub, hasToken } = asked;
  const waitMs = retryAfter(header(headers, "retry-after"));
  if (status === 429) {
    const advice = isHub && !hasToken ? ", or set HF_TOKEN, which raises the limit" : "";
    const message = `${url.host} has had too many requests for now (429): try ${name} again later${advice}.`;
    return new PassingError(message, { waitMs });
  }
  if (status === 408 || status >= 500) {
    const message = `${url.host} answered ${status} for ${name}: try again later.`;
    return new PassingError(message, { waitMs });
  }
  if (isHub && (status === 401 || status === 403)) return accessError(asked, status, headers);
  if (status === 404) return new UserError(`${url.host} has no ${name} (404): check the name.`);
  return new UserError(`${url.host} answered ${status} for ${name}.`);
}

function accessError({ name, url, hasToken }: Asked, status: number, headers: Headers): UserError {
  const [, repo = name] = /^hf:([^/]+\/[^/:]+)/.exec(name) ?? [];
  const page = `${url.origin}/${repo}`;
  const tokens = `${url.origin}/settings/tokens`;
  if (header(headers, "x-error-code") === "GatedRepo") {
    const token = hasToken ? "with the account of your HF_TOKEN" : `and set HF_TOKEN (${tokens})`;
    return new UserError(
      `${name} is gated (${status}): accept its conditions at ${page} ${token}.`,
    );
  }
  const token = hasToken
    ? "HF_TOKEN is not valid or has no access"
    : `it is private or gated, and then needs HF_TOKEN (${tokens})`;
  return new UserError(
    `${url.host} refuses ${name} (${status}): there is no such repository, or ${token}; see ${page}.`,
  );
}

/** Milliseconds of a Retry-After header, which has seconds or a date; undefined without one. */
export function retryAfter(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Nothing was reached. */
const UNREACHED: Readonly<Record<string, string>> = {
  ENOTFOUND: "its name is not known; is there a network?",
  EAI_AGAIN: "its name cannot be looked up; is there a network?",
  ECONNREFUSED: "it refuses connections",
  ENETUNREACH: "there is no network",
  EHOSTUNREACH: "there is no way to it",
  ENETDOWN: "the network is down",
  EADDRNOTAVAIL: "there is no network",
  UND_ERR_CONNECT_TIMEOUT: "it does not answer; is there a network?",
};

/** A connection was there and is not any more, or takes too long. */
const CUT: Readonly<Record<string, string>> = {
  ECONNRESET: "the connection was cut",
  EPIPE: "the connection was cut",
  ETIMEDOUT: "it does not answer",
  UND_ERR_SOCKET: "the connection was cut",
  UND_ERR_ABORTED: "the connection was cut",
  UND_ERR_HEADERS_TIMEOUT: "it does not answer",
  UND_ERR_BODY_TIMEOUT: "it sends nothing any more",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "the connection was cut",
};

/** Why there is no answer, or no end of one. */
export function networkError(
  { name, url }: Pick<Asked, "name" | "url">,
  error: unknown,
): UserError {
  const { code = "", message } = innermost(error);
  const [, status] = /^Proxy response \((\d+)\)/.exec(message) ?? [];
  if (status !== undefined) {
    return new UserError(`${name}: the proxy does not connect to ${url.host} (${status}).`);
  }
  const cut = CUT[code] ?? (code.startsWith("HPE_") ? "it does not speak HTTP" : undefined);
  if (cut !== undefined) return new PassingError(`${name}: ${url.host}: ${cut}.`);
  const why = UNREACHED[code];
  const line = `${name}: ${url.host} cannot be reached: ${why ?? message.replace(/\.$/, "")}.`;
  return why === undefined ? new UserError(line) : new PassingError(line, { isUnreached: true });
}

/** Errors of several tries, for each address of a name, and errors behind errors. */
function innermost(error: unknown): NodeJS.ErrnoException {
  const { code, cause, errors } = error as NodeJS.ErrnoException & { errors?: unknown[] };
  if (code !== undefined) return error as NodeJS.ErrnoException;
  const inner = cause ?? errors?.[0];
  return inner instanceof Error ? innermost(inner) : (error as NodeJS.ErrnoException);
}
