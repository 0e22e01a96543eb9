// A server on this machine that answers as Hugging Face's hub does, and a second one, under another
// host's name, that it redirects to for the bytes of files.

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll } from "vitest";

export const REPO = "owner/Tiny-GGUF";

/** What is asked for: a listing, a file's place, or its bytes. */
export type Door = "list" | "resolve" | "bytes";

export interface Asked {
  readonly door: Door;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
}

export type Handler = (request: IncomingMessage, response: ServerResponse, bytes: Buffer) => void;

export class HubServer {
  /** Files of the repository by path, in the order of the listing. */
  readonly files = new Map<string, Buffer>();
  readonly asked: Asked[] = [];
  readonly #next: Record<Door, Handler[]> = { list: [], resolve: [], bytes: [] };
  /** Connections that are cut when this many bytes of a file have arrived. */
  readonly #cuts = new Map<number, () => void>();
  readonly #hub: Server;
  readonly #far: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answerHub(request, response));
    this.#far = createServer((request, response) => this.#answerFar(request, response));
  }

  static async start(): Promise<HubServer> {
    const server = new HubServer();
    await new Promise<void>((resolve) => server.#hub.listen(0, "127.0.0.1", resolve));
    await new Promise<void>((resolve) => server.#far.listen(0, "localhost", resolve));
    afterAll(() => server.close());
    return server;
  }

  close(): void {
    for (const server of [this.#hub, this.#far]) {
      server.closeAllConnections();
      server.close();
    }
  }

  /** Forgets files, requests and what was to be done at the next ones. */
  reset(files: Readonly<Record<string, Buffer>>): void {
    this.files.clear();
    for (const [path, bytes] of Object.entries(files)) this.files.set(path, bytes);
    this.asked.length = 0;
    this.#cuts.clear();
    for (const handlers of Object.values(this.#next)) handlers.length = 0;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  /** The server that has the bytes. */
  get far(): string {
    return `http://localhost:${(this.#far.address() as AddressInfo).port}`;
  }

  /** Has the next requests at a door answered by these, one each. */
  next(door: Door, ...handlers: Handler[]): void {
    this.#next[door].push(...handlers);
  }

  /**
   * Sends this many bytes of what was asked for, and cuts the connection when `arrived` was told of
   * them: what is cut earlier may be lost on the way.
   */
  cutAfter(count: number): Handler {
    return (request, response, bytes) => {
      const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
      const rest = bytes.subarray(from);
      const range = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
      response.writeHead(from > 0 ? 206 : 200, {
        "content-length": rest.length,
        ...(from > 0 && { "content-range": range }),
      });
      const cut = () => response.socket?.destroy();
      response.flushHeaders();
      if (count === 0) setTimeout(cut, 50);
      else this.#cuts.set(from + count, cut);
      response.write(rest.subarray(0, count));
    };
  }

  /** Tells how many bytes of a file are there. */
  arrived(count: number): void {
    this.#cuts.get(count)?.();
    this.#cuts.delete(count);
  }

  /** What was asked for at a door. */
  askedAt(door: Door): Asked[] {
    return this.asked.filter((each) => each.door === door);
  }

  #answerHub(request: IncomingMessage, response: ServerResponse): void {
    const url = request.url ?? "";
    const [, path] = new RegExp(`^/${REPO}/resolve/main/([^?]+)`).exec(url) ?? [];
    const isList = url.startsWith(`/api/models/${REPO}/tree/main?`);
    if (path === undefined && !isList) status(404)(request, response, NOTHING);
    else this.#answer(isList ? "list" : "resolve", request, response, path);
  }

  #answerFar(request: IncomingMessage, response: ServerResponse): void {
    this.#answer("bytes", request, response, (request.url ?? "").replace(/^\/bytes\/|\?.*$/g, ""));
  }

  #answer(door: Door, request: IncomingMessage, response: ServerResponse, path = ""): void {
    this.asked.push({ door, url: request.url ?? "", headers: { ...request.headers } });
    const bytes = this.files.get(decodeURIComponent(path));
    const next = this.#next[door].shift();
    if (next !== undefined) next(request, response, bytes ?? NOTHING);
    else if (door === "list") this.list(response);
    else if (bytes === undefined) status(404)(request, response, NOTHING);
    else if (door === "resolve") this.redirect(response, path, bytes);
    else sendBytes(request, response, bytes);
  }

  list(response: ServerResponse): void {
    const items = [...this.files].map(([path, bytes]) => entryOf(path, bytes));
    sendJson(response, [
      { type: "directory", oid: "0".repeat(40), size: 0, path: "other" },
      ...items,
    ]);
  }

  redirect(response: ServerResponse, path: string, bytes: Buffer): void {
    response.writeHead(302, {
      location: `${this.far}/bytes/${path}?signature=secret`,
      "x-linked-etag": `"${sha256(bytes)}"`,
      "x-linked-size": bytes.length,
    });
    response.end();
  }
}

const NOTHING = Buffer.alloc(0);

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** As the hub lists a file in large storage. */
export function entryOf(path: string, bytes: Buffer): object {
  return {
    type: "file",
    oid: "1".repeat(40), // of the pointer
    size: bytes.length,
    path,
    lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 },
  };
}

export function sendJson(response: ServerResponse, value: unknown, headers = {}): void {
  response.writeHead(200, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}

/** The bytes that a range asks for, or all. */
export function sendBytes(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
  etag = `"${sha256(bytes).slice(0, 32)}"`,
): void {
  const [, from = "0", to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  if (request.headers.range !== undefined && Number(from) >= bytes.length) {
    response.writeHead(416, { "content-range": `bytes */${bytes.length}` });
    response.end();
    return;
  }
  const part = bytes.subarray(Number(from), to ? Number(to) + 1 : undefined);
  const range = `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`;
  const isPart = request.headers.range !== undefined;
  response.writeHead(isPart ? 206 : 200, {
    "content-length": part.length,
    "accept-ranges": "bytes",
    etag,
    ...(isPart && { "content-range": range }),
  });
  response.end(part);
}

/** Answers with a status and no more. */
export function status(code: number, headers: Readonly<Record<string, string>> = {}): Handler {
  return (_, response) => {
    response.writeHead(code, headers);
    response.end("a body that nobody reads");
  };
}

/** Cuts the connection before there is an answer. */
export const cutAtOnce: Handler = (request) => void request.socket.destroy();
