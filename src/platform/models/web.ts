// Requests to the hub and to other servers: through the proxies that the environment names, along
// redirects, and with the token for the hub alone. Node's own `fetch` knows no proxies before
// version 24; undici's agent, of the library that it is made of, does.

import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { UserError } from "../../errors.ts";
import { type Asked, type Headers, header, networkError, statusError } from "./failures.ts";
import { isAllowed } from "./model-name.ts";

/** Milliseconds until a connection, an answer, and the next bytes of it. */
const CONNECT_MS = 15_000;
const SILENCE_MS = 60_000;

const MOST_REDIRECTS = 10;

/** A page of a listing has at most 1,000 files of a few hundred bytes. */
const LARGEST_JSON = 32 * 1024 * 1024;

/** The first answer that is not a redirect. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Headers of the hub's own answers on the way, which tell a file's size and checksum. */
  readonly hub: Headers;
  /** The server that it is from. */
  readonly url: URL;
  readonly body: Readable;
}

export interface WebSetting {
  /** The hub, with a "/" at the end: the only server that gets the token. */
  readonly hub: URL;
  readonly token: string | undefined;
  readonly signal: AbortSignal | undefined;
}

type Request = typeof import("undici").request;

/** Connections of one pull. `close` them. */
export class Web {
  readonly #setting: WebSetting;
  readonly #agent: Dispatcher;
  readonly #request: Request;

  private constructor(setting: WebSetting, agent: Dispatcher, request: Request) {
    this.#setting = setting;
    this.#agent = agent;
    this.#request = request;
  }

  /** Throws a `UserError` if a variable that names a proxy is wrong. */
  static async open(setting: WebSetting): Promise<Web> {
    const { EnvHttpProxyAgent, request } = await import("undici"); // most runs need no network
    try {
      const agent = new EnvHttpProxyAgent({
        ...proxies(),
        connect: { timeout: CONNECT_MS },
        headersTimeout: SILENCE_MS,
        bodyTimeout: SILENCE_MS,
      });
      return new Web(setting, agent, request);
    } catch {
      // The value may hold a password.
      throw new UserError(
        "HTTPS_PROXY or HTTP_PROXY is no address of a proxy: expected one such as http://proxy:8080.",
      );
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** Whether an address is the hub's. */
  isHub(url: URL): boolean {
    return url.origin === this.#setting.hub.origin;
  }

  /**
   * Asks for an address and follows redirects. Gives successes, and statuses in `also`; throws a
   * `UserError` for all others, a `PassingError` if another try may succeed.
   */
  async get(
    url: URL,
    name: string,
    more: Readonly<Record<string, string>> = {},
    also: readonly number[] = [],
  ): Promise<Answer> {
    const hub: Record<string, string | string[] | undefined> = {};
    // Once another server has been on the way, the token stays behind.
    let isTrusted = true;
    let at = url;
    for (let hop = 0; hop <= MOST_REDIRECTS; hop++) {
      isTrusted &&= this.isHub(at);
      const { statusCode: status, headers, body } = await this.#ask(at, name, more, isTrusted);
      if (isTrusted) Object.assign(hub, headers);
      if ((status >= 200 && status < 300) || also.includes(status)) {
        return { status, headers, hub, url: at, body };
      }
      drop(body);
      const location = header(headers, "location");
      if (![301, 302, 303, 307, 308].includes(status) || location === undefined) {
        throw statusError(this.#asked(at, name), status, headers);
      }
      at = redirected(at, location, name);
    }
    throw new UserError(`${url.host} redirects ${name} in a circle.`);
  }

  #asked(url: URL, name: string): Asked {
    return { name, url, isHub: this.isHub(url), hasToken: this.#setting.token !== undefined };
  }

  async #ask(url: URL, name: string, more: Readonly<Record<string, string>>, isTrusted: boolean) {
    const { token, signal } = this.#setting;
    signal?.throwIfAborted();
    try {
      return await this.#request(url, {
        dispatcher: this.#agent,
        headers: {
          "user-agent": "dawnstream",
          ...more,
          ...(isTrusted && token !== undefined && { authorization: `Bearer ${token}` }),
        },
        ...(signal && { signal }),
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw networkError({ name, url }, error);
    }
  }

  /** The parts of an answer's body as they come. Throws a `PassingError` if it is cut. */
  async *parts({ body, url }: Answer, name: string): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const part of body) yield part as Uint8Array;
    } catch (error) {
      this.#setting.signal?.throwIfAborted();
      throw networkError({ name, url }, error);
    } finally {
      drop(body);
    }
  }

  /** A JSON value, and the header that has the address of the next page. */
  async json(url: URL, name: string): Promise<{ items: unknown; link: string | undefined }> {
    const answer = await this.get(url, name, { accept: "application/json" });
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of this.parts(answer, name)) {
      bytes += part.length;
      if (bytes > LARGEST_JSON)
        throw new UserError(`${url.host} gave too long a list for ${name}.`);
      parts.push(part);
    }
    try {
      const items: unknown = JSON.parse(Buffer.concat(parts).toString("utf8"));
      return { items, link: header(answer.headers, "link") };
    } catch {
      throw new UserError(
        `${answer.url.host} gave no JSON for ${name}: it is not Hugging Face's hub, or a network's login page answers in its place.`,
      );
    }
  }
}

/** What the environment says of proxies; an empty variable means an unset one. */
function proxies(env: NodeJS.ProcessEnv = process.env) {
  return {
    httpProxy: env.http_proxy || env.HTTP_PROXY || "",
    httpsProxy: env.https_proxy || env.HTTPS_PROXY || "",
    noProxy: env.no_proxy || env.NO_PROXY || "",
  };
}

/** Ends an answer whose rest is not wanted. */
export function drop(body: Readable): void {
  body.on("error", () => {}); // that it was ended
  body.destroy();
}

function redirected(from: URL, location: string, name: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  // Never from https to a server that others can read, nor to one behind this machine's firewall.
  if (to && (to.protocol === "https:" || (from.protocol === "http:" && isAllowed(to)))) return to;
  throw new UserError(
    `${from.host} redirects ${name} to ${to ? `${to.protocol}//${to.host}, which is not https` : "no address"}.`,
  );
}
