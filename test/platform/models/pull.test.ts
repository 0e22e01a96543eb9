// Models fetched from a server that answers as the hub does: names, listings, the token, refusals, addresses.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { pullModel } from "../../../src/index.ts";
import { localModel } from "../../../src/platform/models/pull.ts";
import {
  entryOf,
  type Handler,
  REPO,
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
  TOKEN,
  top,
  WHOLE,
} from "../../support/model-cache.ts";

test("a model is fetched, checked and kept under its name", async () => {
  const heard: number[] = [];
  const model = await pullModel(NAME, {
    onProgress: ({ file, done, total }) => {
      expect([file, total]).toEqual([`${NAME}/${FILE}`, BYTES.length]);
      heard.push(done);
    },
  });
  expect(model).toEqual({
    path: at(FILE),
    bytes: BYTES.length,
    files: [
      { name: `${NAME}/${FILE}`, path: at(FILE), bytes: BYTES.length, sha256: sha256(BYTES) },
    ],
  });
  expect(readFileSync(model.path).equals(BYTES)).toBe(true);
  expect(heard).toEqual(heard.toSorted((a, b) => a - b));
  expect(heard.at(-1)).toBe(BYTES.length);
  expect(await stored()).toEqual(WHOLE);
});

test("what is there is not fetched again, by name, by file or by weights", async () => {
  await pullModel(NAME);
  hub.asked.length = 0;
  await pullModel(NAME);
  await pullModel(`${NAME}:Q4_K_M`);
  await pullModel(`${NAME}/${FILE}`);
  expect(hub.asked.map(({ door }) => door)).toEqual(["list", "list", "list"]);
  // And to open it nothing is asked at all.
  for (const end of ["", ":Q4_K_M", `/${FILE}`]) {
    expect(await localModel(NAME + end)).toBe(at(FILE));
  }
  expect(hub.asked.length).toBe(3);
});

test("what is there is used without a network; what is not is one line", async () => {
  await pullModel(NAME);
  vi.stubEnv("HF_ENDPOINT", "http://127.0.0.1:9"); // discard: nothing listens
  expect(await localModel(NAME)).toBe(at(FILE));
  for (const name of [`${NAME}:Q8_0`, "hf:owner/other"]) {
    expect(await refusal(localModel(name))).toMatch(
      /^hf:owner\/[\w-]+: 127\.0\.0\.1:9 cannot be reached: it refuses connections\.$/,
    );
  }
  vi.stubEnv("HF_ENDPOINT", "https://no-such-host.invalid");
  expect(await refusal(pullModel(NAME))).toMatch(/cannot be reached: .*is there a network\?\.$/);
  expect(readFileSync(at(FILE)).equals(BYTES)).toBe(true);
});

test("paths are left as they are", async () => {
  for (const path of ["model.gguf", "./hf:a/b", "C:\\models\\a.gguf", "/a/b.gguf", "hf"]) {
    expect(await localModel(path)).toBe(path);
  }
  expect(hub.asked).toEqual([]);
});

test("a split model: all files, from any of their names", async () => {
  const shards = ["00001", "00002", "00003"].map((n) => `big/big-Q8_0-${n}-of-00003.gguf`);
  const files = Object.fromEntries(shards.map((path, i) => [path, randomBytes(1000 * (i + 1))]));
  hub.reset({ [FILE]: BYTES, ...files });
  const { path, files: pulled, bytes } = await pull(`${NAME}/${shards[1]}`);
  expect(path).toBe(at(shards[0]!));
  expect(bytes).toBe(6000);
  expect(pulled.map((file) => file.name)).toEqual(shards.map((shard) => `${NAME}/${shard}`));
  for (const shard of shards) expect(readFileSync(at(shard)).equals(files[shard]!)).toBe(true);
  expect(await localModel(`${NAME}:Q8_0`)).toBe(at(shards[0]!));
  expect(hub.askedAt("bytes").length).toBe(3);
  hub.files.delete(shards[2]!);
  expect(await refusal(pullModel(`${NAME}:Q8_0`))).toMatch(/does not have all 3 files/);
});

test("a listing of several pages", async () => {
  const page = `/api/models/${REPO}/tree/main?recursive=true&cursor=2`;
  hub.next(
    "list",
    (_, response) =>
      sendJson(response, [{ type: "file", path: "README.md", size: 1, oid: "1".repeat(40) }], {
        link: `<${hub.endpoint}${page}>; rel="next"`,
      }),
    (_, response) => sendJson(response, [entryOf(FILE, BYTES)]),
  );
  await pullModel(NAME);
  expect(hub.askedAt("list").map(({ url }) => url)).toEqual([
    `/api/models/${REPO}/tree/main?recursive=true`,
    page,
  ]);
});

test("a file that is not in large storage is checked by git's hash", async () => {
  // `printf hello | git hash-object --stdin`
  const oid = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
  hub.reset({ [FILE]: Buffer.from("hello") });
  const list = (path: string) =>
    hub.next("list", (_, response) => sendJson(response, [{ type: "file", path, size: 5, oid }]));
  const bytes: Handler = (request, response, all) => sendBytes(request, response, all);
  list(FILE);
  hub.next("resolve", bytes);
  expect((await pull()).files[0]).toMatchObject({ bytes: 5, sha256: undefined });
  hub.reset({ [FILE]: Buffer.from("hallo") });
  await rm(at(""), { recursive: true });
  list(FILE);
  hub.next("resolve", bytes);
  expect(await refusal(pullModel(NAME))).toMatch(/its hash in git is [0-9a-f]{40}, and b6fc4c62/);
});

describe("the token", () => {
  test("goes to the hub, and to no server that it redirects to", async () => {
    await pullModel(NAME);
    const tokens = hub.asked.map(({ door, headers }) => [door, headers.authorization]);
    expect(tokens).toEqual([
      ["list", `Bearer ${TOKEN}`],
      ["resolve", `Bearer ${TOKEN}`],
      ["bytes", undefined],
    ]);
  });

  test("does not come back behind another server", async () => {
    hub.next("bytes", (_, response) => {
      response.writeHead(302, { location: `${hub.endpoint}/${REPO}/resolve/main/${FILE}?again` });
      response.end();
    });
    hub.next(
      "resolve",
      (_, response, bytes) => hub.redirect(response, FILE, bytes),
      (request, response, bytes) => sendBytes(request, response, bytes),
    );
    await pullModel(NAME);
    const tokens = hub.askedAt("resolve").map(({ headers }) => headers.authorization);
    expect(tokens).toEqual([`Bearer ${TOKEN}`, undefined]);
  });

  test("is not sent with the address of another server", async () => {
    await pullModel(`${hub.far}/bytes/${FILE}`);
    expect(hub.asked.length).toBeGreaterThan(1);
    for (const { headers } of hub.asked) expect(headers.authorization).toBeUndefined();
  });

  test("is not sent to the next page of a listing on another server", async () => {
    hub.next("list", (_, response) =>
      sendJson(response, [entryOf(FILE, BYTES)], { link: `<${hub.far}/bytes/x>; rel="next"` }),
    );
    expect(await refusal(pullModel(NAME))).toMatch(/continues its listing on another server/);
    expect(hub.askedAt("bytes")).toEqual([]);
  });

  test.each(["two\nlines", "smörgås", "a b"])(
    "that is none, %j, is refused unshown",
    async (token) => {
      vi.stubEnv("HF_TOKEN", token);
      const message = await refusal(pullModel(NAME));
      expect(message).toMatch(/^HF_TOKEN has a character that no token has/);
      expect(message).not.toContain(token);
    },
  );

  test("may be missing, and may end with a line break", async () => {
    vi.stubEnv("HF_TOKEN", "");
    await pullModel(NAME);
    vi.stubEnv("HF_TOKEN", `${TOKEN}\n`);
    await pullModel(NAME);
    const tokens = hub.askedAt("list").map(({ headers }) => headers.authorization);
    expect(tokens).toEqual([undefined, `Bearer ${TOKEN}`]);
  });
});

describe("answers that are no success", () => {
  const conditions = new RegExp(`accept its conditions at ${hub.endpoint}/${REPO} `);
  const gated = { "x-error-code": "GatedRepo" };

  test.each([401, 403])("%d of a gated model says what to do", async (code) => {
    hub.next("resolve", status(code, gated));
    expect(await refusal(pull())).toMatch(/with the account of your HF_TOKEN\.$/);
    vi.stubEnv("HF_TOKEN", "");
    hub.next("resolve", status(code, gated));
    const line = await refusal(pull());
    expect(line).toMatch(conditions);
    expect(line).toMatch(/and set HF_TOKEN \(http:.*settings\/tokens\)\.$/);
  });

  test("401 without a reason: the hub's answer to names that it does not know", async () => {
    hub.next("list", status(401));
    expect(await refusal(pull())).toMatch(
      /refuses hf:owner\/Tiny-GGUF \(401\): there is no such repository, or HF_TOKEN is not valid/,
    );
    vi.stubEnv("HF_TOKEN", "");
    hub.next("list", status(401));
    expect(await refusal(pull())).toMatch(/or it is private or gated, and then needs HF_TOKEN/);
  });

  test("404", async () => {
    expect(await refusal(pullModel("hf:owner/none"))).toMatch(
      /^127\.0\.0\.1:\d+ has no hf:owner\/none \(404\): check the name\.$/,
    );
    expect(await refusal(pullModel(`${hub.far}/bytes/none.gguf`))).toMatch(/\(404\)/);
  });

  const inTwoSeconds = () => new Date(Date.now() + 2000).toUTCString();
  test.each([
    ["seconds", () => "1"],
    ["a date", inTwoSeconds],
  ])("429 that asks to wait by %s is waited for", async (_, after) => {
    const began = performance.now();
    hub.next("resolve", status(429, { "retry-after": after() }));
    const { path, warnings } = await pull();
    expect(readFileSync(path).equals(BYTES)).toBe(true);
    expect(warnings).toEqual([
      expect.stringMatching(/too many requests for now \(429\).* Trying again in [12] s\.$/),
    ]);
    expect(performance.now() - began).toBeGreaterThan(900); // a date has whole seconds
  });

  test.each(["3600", new Date(Date.now() + 3_600_000).toUTCString()])(
    "429 that asks for an hour, %s, is told at once",
    async (after) => {
      hub.next("resolve", status(429, { "retry-after": after }));
      expect(await refusal(pull())).toMatch(
        /too many requests for now \(429\): try .* again later\.$/,
      );
      vi.stubEnv("HF_TOKEN", "");
      hub.next("resolve", status(429, { "retry-after": after }));
      expect(await refusal(pull())).toMatch(/or set HF_TOKEN, which raises the limit\.$/);
    },
  );

  test("500 and 503 are tried again, 400 is not", async () => {
    hub.next("list", status(503));
    hub.next("bytes", status(500));
    expect((await pull()).warnings.length).toBe(2);
    hub.next("list", status(400));
    expect(await refusal(pull())).toMatch(/answered 400 for hf:owner\/Tiny-GGUF\.$/);
  });

  test.each(["<html>Log in to the airport</html>", "", '[{"type":'])(
    "a listing that is no JSON: %s",
    async (text) => {
      hub.next("list", (_, response) => void response.end(text));
      expect(await refusal(pull())).toMatch(/gave no JSON for hf:owner\/Tiny-GGUF/);
    },
  );

  test.each(["{}", "5", "null", '"a"'])("a listing that is no list: %s", async (text) => {
    hub.next("list", (_, response) => void response.end(text));
    expect(await refusal(pull())).toMatch(/gave no list of files/);
  });

  test("a redirect in a circle, to nowhere, to http elsewhere", async () => {
    for (const [location, says] of [
      [`/${REPO}/resolve/main/${FILE}`, /redirects .* in a circle\.$/],
      [
        "http://example.invalid/a",
        /redirects .* to http:\/\/example\.invalid, which is not https\.$/,
      ],
      ["file:///etc/passwd", /redirects .* to file:/],
    ] as const) {
      const redirect = status(302, { location });
      hub.next("resolve", ...Array.from({ length: 20 }, () => redirect));
      expect(await refusal(pull())).toMatch(says);
      hub.reset({ [FILE]: BYTES });
    }
  });
});

describe("a listing with hostile names", () => {
  const names = [
    ...["../out.gguf", "a/../../out.gguf", "/abs.gguf", "a//b.gguf", "./a.gguf", ".hidden.gguf"],
    ...["a\\b.gguf", "..\\out.gguf", "C:\\out.gguf", "C:out.gguf", "nul.gguf", "com1.x.gguf"],
    ...["a\0b.gguf", "a\nb.gguf", "a\u202eb.gguf", "a .gguf/b.gguf".replace(" ", "\u0007")],
    ...["a./b.gguf", "a /b.gguf", `${"x".repeat(300)}.gguf`, "~\ud800.gguf", "a?.gguf", "a*.gguf"],
  ];
  test.each(names)("%j is as if it were not there", async (path) => {
    hub.next("list", (_, response) => sendJson(response, [entryOf(path, BYTES)]));
    expect(await refusal(pull())).toMatch(/has no GGUF model: there is no \.gguf file in it/);
    hub.next("list", (_, response) =>
      sendJson(response, [entryOf(path, BYTES), entryOf(FILE, BYTES)]),
    );
    expect((await pull()).path).toBe(at(FILE));
    expect((await readdir(top)).filter((name) => !name.startsWith("cache-"))).toEqual([]);
    expect(await readdir(cache())).toEqual(["models"]);
    expect(await readdir(join(cache(), "models"))).toEqual(["hf"]);
    expect(await stored()).toEqual(WHOLE);
  });

  test("names that differ by letter case only are refused", async () => {
    hub.reset({ "Tiny-Q8_0.gguf": BYTES, "tiny-q8_0.gguf": randomBytes(100) });
    expect(await refusal(pull())).toMatch(/names that differ by letter case only/);
    expect(hub.askedAt("bytes")).toEqual([]);
  });

  test("entries of wrong kinds are as if they were not there", async () => {
    const right = entryOf(FILE, BYTES) as Record<string, unknown>;
    const wrong = [
      ...[null, 5, "a", [], {}, { ...right, type: "directory" }, { ...right, path: 5 }],
      ...[
        { ...right, lfs: { oid: "zz", size: 5 } },
        { ...right, lfs: { size: 5 } },
      ],
      ...[-1, 1.5, 2 ** 60, "5", null].map((size) => ({
        ...right,
        size,
        lfs: { oid: "a".repeat(64), size },
      })),
    ];
    hub.next("list", (_, response) => sendJson(response, wrong));
    expect(await refusal(pull())).toMatch(/has no GGUF model/);
  });
});

describe("an address", () => {
  const address = (end = "") => `${hub.far}/bytes/${FILE}${end}`;
  const place = () =>
    join(cache(), "models/http", hub.far.replace("http://", "").replace(":", "_"));

  test("is fetched and kept under its host and path, without its query", async () => {
    const { path, files } = await pull(address("?download=true"));
    expect(path).toBe(join(place(), "bytes", FILE));
    expect(files[0]).toMatchObject({ name: address(), bytes: BYTES.length, sha256: undefined });
    expect(readFileSync(path).equals(BYTES)).toBe(true);
    hub.asked.length = 0;
    expect(await localModel(address())).toBe(path);
    expect(hub.asked).toEqual([]);
  });

  test("goes on if the server's mark is the same, and begins anew if it is not", async () => {
    for (const newer of [BYTES, randomBytes(BYTES.length)]) {
      await rm(cache(), { recursive: true });
      const etag = `"${sha256(BYTES).slice(0, 32)}"`;
      hub.reset({ [FILE]: BYTES });
      const whole: Handler = (request, response, bytes) =>
        sendBytes(request, response, bytes, etag);
      hub.next(
        "bytes",
        whole,
        (request, response, bytes) => {
          response.setHeader("etag", etag);
          hub.cutAfter(300_000)(request, response, bytes);
        },
        status(403),
      );
      await refusal(pull(address()));
      hub.files.set(FILE, newer);
      hub.asked.length = 0;
      expect(readFileSync((await pull(address())).path).equals(newer)).toBe(true);
      const range = newer === BYTES ? "bytes=300000-" : undefined;
      expect(hub.askedAt("bytes").map(({ headers }) => headers.range)).toEqual([
        "bytes=0-0",
        range,
      ]);
    }
  });

  test("of a server that marks nothing is never gone on with", async () => {
    const bare: Handler = (_, response, bytes) => void response.end(bytes);
    hub.next("bytes", bare, hub.cutAfter(300_000), bare);
    expect(readFileSync((await pull(address())).path).equals(BYTES)).toBe(true);
    expect(hub.askedAt("bytes").map(({ headers }) => headers.range)).toEqual([
      "bytes=0-0",
      undefined,
      undefined,
    ]);
  });

  test("differs by its query, which is not shown", async () => {
    const other = randomBytes(1000);
    const first = await pull(address("?id=1&key=secret"));
    hub.files.set(FILE, other);
    const second = await pull(address("?id=2&key=secret"));
    expect(readFileSync(first.path).equals(BYTES)).toBe(true);
    expect(readFileSync(second.path).equals(other)).toBe(true);
    expect(JSON.stringify([first, second])).not.toContain("secret");
    hub.next("bytes", status(404));
    expect(await refusal(pull(address("?id=3&key=secret")))).not.toContain("secret");
  });

  test("of a split model: all its files", async () => {
    const shards = [1, 2].map((n) => `s-0000${n}-of-00002.gguf`);
    hub.reset(Object.fromEntries(shards.map((name) => [name, randomBytes(10)])));
    const { files } = await pull(`${hub.far}/bytes/${shards[0]}`);
    expect(files.map(({ name }) => name)).toEqual(shards.map((s) => `${hub.far}/bytes/${s}`));
  });

  test("of the hub itself is read as a name", async () => {
    for (const word of ["blob", "resolve"]) {
      const { path } = await pull(`${hub.endpoint}/${REPO}/${word}/main/${FILE}?download=true`);
      expect(path).toBe(at(FILE));
    }
    expect(hub.askedAt("list").length).toBe(2);
  });
});

test("the folder is readable only by its user, and holds no token and no signed address", async () => {
  await pull();
  expect((await stat(at(""))).mode & 0o077).toBe(0);
  for (const name of ["files.json", `${FILE}.json`]) {
    const text = await readFile(at(name), "utf8");
    expect(text).not.toMatch(/secret/i);
  }
});

test("several pulls of one file in one process fetch it once", async () => {
  const models = await Promise.all([pull(), pull(), pull()]);
  for (const { path } of models) expect(readFileSync(path).equals(BYTES)).toBe(true);
  expect(hub.askedAt("bytes").length).toBe(1);
  expect(await stored()).toEqual(WHOLE);
});
