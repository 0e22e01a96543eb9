// Models fetched over connections that break, onto disks that are full, with bytes that are wrong.

import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { pullModel, UserError } from "../../../src/index.ts";
import { localModel } from "../../../src/platform/models/pull.ts";
import { NewFile } from "../../../src/platform/write-file.ts";
import {
  cutAtOnce,
  entryOf,
  type Handler,
  sendBytes,
  sendJson,
  sha256,
  status,
} from "../../support/hub-server.ts";
import {
  at,
  BYTES,
  cache,
  FILE,
  hub,
  NAME,
  pull,
  refusal,
  stored,
  WHOLE,
} from "../../support/model-cache.ts";

describe("a connection that is cut", () => {
  /** Which ranges of the bytes were asked for. */
  const ranges = () => hub.askedAt("bytes").map(({ headers }) => headers.range);

  const places: readonly [string, Handler, string | undefined][] = [
    ["before the answer", cutAtOnce, undefined],
    ["behind the headers", hub.cutAfter(0), undefined],
    ["in the middle", hub.cutAfter(400_000), "bytes=400000-"],
    ["before the last byte", hub.cutAfter(BYTES.length - 1), `bytes=${BYTES.length - 1}-`],
  ];
  test.each(places)("%s", async (_, cut, range) => {
    hub.next("bytes", cut);
    const { path, warnings } = await pull();
    expect(readFileSync(path).equals(BYTES)).toBe(true);
    expect(ranges()).toEqual([undefined, range]);
    expect(warnings).toEqual([
      expect.stringMatching(/^hf:owner\/.*localhost:\d+: the connection was cut.* in 1 s\.$/),
    ]);
  });

  test("again and again, a little further each time", async () => {
    for (let i = 0; i < 8; i++) hub.next("bytes", hub.cutAfter(100_000));
    const { path } = await pull();
    expect(readFileSync(path).equals(BYTES)).toBe(true);
    expect(ranges()).toEqual([
      undefined,
      ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => `bytes=${n}00000-`),
    ]);
  });

  test("in the listing and before the redirect", async () => {
    hub.next("list", cutAtOnce);
    hub.next("resolve", cutAtOnce);
    const { path, warnings } = await pull();
    expect(readFileSync(path).equals(BYTES)).toBe(true);
    expect(warnings.length).toBe(2);
  });

  test("for good: the next pull goes on", async () => {
    hub.next("bytes", hub.cutAfter(300_000), status(403));
    expect(await refusal(pull())).toMatch(/answered 403/);
    const part = (await stored()).find((name) => name.endsWith(".part"))!;
    expect((await stat(at(part))).size).toBe(300_000);
    const { path } = await pull();
    expect(readFileSync(path).equals(BYTES)).toBe(true);
    expect(ranges().at(-1)).toBe("bytes=300000-");
    expect(await stored()).toEqual(WHOLE);
  });

  test("and a server that then sends all of it", async () => {
    hub.next("bytes", hub.cutAfter(300_000), (request, response, bytes) => {
      request.headers.range = undefined;
      sendBytes(request, response, bytes);
    });
    expect(readFileSync((await pull()).path).equals(BYTES)).toBe(true);
  });

  test("and a server that then sends other bytes than those missing", async () => {
    hub.next("bytes", hub.cutAfter(300_000), (request, response, bytes) => {
      request.headers.range = "bytes=200000-";
      sendBytes(request, response, bytes);
    });
    expect(readFileSync((await pull()).path).equals(BYTES)).toBe(true);
    expect(ranges()).toEqual([undefined, "bytes=300000-", undefined]);
  });

  test("and a file that has another version then: begins anew", async () => {
    const newer = randomBytes(900_000);
    hub.next("bytes", hub.cutAfter(300_000));
    hub.next(
      "resolve",
      (_, response, bytes) => hub.redirect(response, FILE, bytes),
      (_, response) => {
        hub.files.set(FILE, newer);
        hub.redirect(response, FILE, newer);
      },
    );
    const { path, warnings } = await pull();
    expect(readFileSync(path).equals(newer)).toBe(true);
    expect(ranges()).toEqual([undefined, "bytes=300000-", undefined]);
    expect(warnings.at(-1)).toMatch(/has been changed while it was fetched: it is fetched anew\.$/);
    expect(await stored()).toEqual(WHOLE);
  });

  test("and a version that is there by the next run: nothing of the old is in it", async () => {
    hub.next("bytes", hub.cutAfter(300_000), status(403));
    await refusal(pull());
    const newer = randomBytes(900_000);
    hub.files.set(FILE, newer);
    expect(readFileSync((await pull()).path).equals(newer)).toBe(true);
    expect(ranges().at(-1)).toBeUndefined();
    expect(await stored()).toEqual(WHOLE);
  });
});

describe("bytes that are wrong", () => {
  const damaged = Buffer.from(BYTES).fill(0, 500_000, 500_001);
  damaged[500_000] = BYTES[500_000]! ^ 1;
  const send: Handler = (request, response) => sendBytes(request, response, damaged);

  test("are removed, and the line says what was promised", async () => {
    hub.next("bytes", send);
    expect(await refusal(pull())).toBe(
      `${NAME}/${FILE} came damaged and was removed: its SHA-256 is ${sha256(damaged)}, and ${sha256(BYTES)} was promised.`,
    );
    expect(await stored()).toEqual(["files.json"]);
  });

  test("that an earlier run has left are fetched anew", async () => {
    hub.next("bytes", hub.cutAfter(600_000), status(403));
    await refusal(pull());
    const part = (await stored()).find((name) => name.endsWith(".part"))!;
    writeFileSync(at(part), damaged.subarray(0, 600_000));
    const { path, warnings } = await pull();
    expect(readFileSync(path).equals(BYTES)).toBe(true);
    expect(warnings).toEqual([expect.stringMatching(/came damaged.* It is fetched anew\.$/)]);
  });

  test("more of them than there should be", async () => {
    hub.next("bytes", (_, response) => void response.end(Buffer.concat([BYTES, BYTES])));
    expect(await refusal(pull())).toMatch(/sends more for .* than its 1000003 bytes\.$/);
    expect(await stored()).toEqual(["files.json"]);
  });

  test("in a place that a user has filled are replaced; the right ones are taken", async () => {
    mkdirSync(at(""), { recursive: true });
    writeFileSync(at(FILE), damaged);
    expect(readFileSync((await pull()).path).equals(BYTES)).toBe(true);
    expect(hub.askedAt("bytes").length).toBe(1);
    await rm(at(`${FILE}.json`));
    await pull();
    expect(hub.askedAt("bytes").length).toBe(1);
    // A file that is shorter than its record says is not there.
    writeFileSync(at(FILE), BYTES.subarray(0, 5));
    expect(readFileSync(await localModel(NAME)).equals(BYTES)).toBe(true);
    expect(hub.askedAt("bytes").length).toBe(2);
  });
});

test("a newer version takes the place of the old one only when it is whole", async () => {
  await pullModel(NAME);
  const newer = randomBytes(500_000);
  hub.files.set(FILE, newer);
  hub.next("bytes", hub.cutAfter(1000), status(403));
  await refusal(pull());
  expect(readFileSync(await localModel(NAME)).equals(BYTES)).toBe(true);
  hub.asked.length = 0;
  expect(readFileSync((await pull()).path).equals(newer)).toBe(true);
  expect(hub.askedAt("bytes").map(({ headers }) => headers.range)).toEqual(["bytes=1000-"]);
});

describe("the disk", () => {
  test("is full in the middle: one line, and the next pull goes on", async () => {
    const write = NewFile.prototype.write;
    let left = 5;
    const spy = vi.spyOn(NewFile.prototype, "write").mockImplementation(function (
      this: NewFile,
      data,
    ) {
      if (data.length < 1000 || left-- > 0) return write.call(this, data);
      throw new UserError("Cannot write it: no space left on the disk.");
    });
    expect(await refusal(pull())).toBe("Cannot write it: no space left on the disk.");
    spy.mockRestore();
    expect(readFileSync((await pull()).path).equals(BYTES)).toBe(true);
    expect(hub.askedAt("bytes").at(-1)!.headers.range).toMatch(/^bytes=\d+-$/);
  });

  test("has too little room from the beginning: nothing is fetched", async () => {
    const huge = entryOf(FILE, BYTES) as { lfs: { size: number } };
    huge.lfs.size = 2 ** 52;
    hub.next("list", (_, response) => sendJson(response, [huge]));
    expect(await refusal(pull())).toMatch(
      /needs 4503599627370496 more bytes, and .* has \d+ free: make room, or name another folder/,
    );
    expect(hub.askedAt("bytes")).toEqual([]);
  });

  test("has a file in the place of the cache folder", async () => {
    writeFileSync(join(cache(), "models"), "in the way");
    expect(await refusal(pull())).toMatch(/^Cannot write .*: no such file or folder\.$/);
  });
});

describe("stopped by a signal", () => {
  test("before and in the middle; the next pull goes on", async () => {
    const reason = new Error("stopped");
    await expect(pull(NAME, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(hub.asked).toEqual([]);
    const stop = new AbortController();
    const part = BYTES.subarray(0, 200_000);
    hub.next("bytes", (_, response) => {
      response.writeHead(200, { "content-length": BYTES.length });
      response.write(part);
    });
    const onProgress = ({ done }: { done: number }) => {
      if (done === part.length) stop.abort(reason);
    };
    await expect(pull(NAME, { signal: stop.signal, onProgress })).rejects.toBe(reason);
    expect(readFileSync((await pull()).path).equals(BYTES)).toBe(true);
    expect(hub.askedAt("bytes").at(-1)!.headers.range).toBe("bytes=200000-");
  });

  test("while it waits for a server", async () => {
    hub.next("list", status(429, { "retry-after": "100" }));
    const stop = new AbortController();
    const stopped = pullModel(NAME, { signal: stop.signal, onWarning: () => stop.abort() });
    await expect(stopped).rejects.toHaveProperty("name", "AbortError");
  });
});
