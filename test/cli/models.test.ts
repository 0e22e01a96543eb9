// `pull`, `models` and `--model hf:…` as a user types them, against a server that answers as the hub does.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { Engine, loadTokenizer, SHIPPED_MODEL } from "../../src/index.ts";
import {
  dawnstream,
  fail,
  json,
  type RunOptions,
  succeed,
  temporaryFolder,
} from "../support/cli.ts";
import { HubServer, REPO, sendBytes, sha256, status } from "../support/hub-server.ts";

const TOKEN = "hf_aVerySecretToken";
const NAME = `hf:${REPO}`;
const FILE = "tiny.Q4_K_M.gguf";
const BYTES = readFileSync(SHIPPED_MODEL);

const hub = await HubServer.start();
const top = temporaryFolder();
let cache = "";
let options: RunOptions = {};
beforeEach(() => {
  cache = mkdtempSync(join(top, "cache-"));
  const env = {
    ...{ DAWNSTREAM_CACHE: cache, HF_ENDPOINT: hub.endpoint, HF_TOKEN: TOKEN },
    ...{ HTTP_PROXY: "", HTTPS_PROXY: "", http_proxy: "", https_proxy: "", NO_PROXY: "" },
  };
  options = { env };
  hub.reset({ [FILE]: BYTES });
});

const folder = () => join(cache, "models/hf", REPO);
const using = (env: Record<string, string>): RunOptions => ({ env: { ...options.env, ...env } });

test("pull prints the path of the model, or an object", async () => {
  const { text, stderr } = await succeed(["pull", NAME], options);
  expect(text).toBe(`${join(folder(), FILE)}\n`);
  expect(stderr).toEqual([expect.stringMatching(/^\[2\.5 MB \| [\d.]+ m?s\]$/)]);
  expect(readFileSync(text.trim()).equals(BYTES)).toBe(true);
  expect(await json(["pull", NAME, "--json"], options)).toEqual({
    path: text.trim(),
    files: [
      { name: `${NAME}/${FILE}`, path: text.trim(), bytes: BYTES.length, sha256: sha256(BYTES) },
    ],
    bytes: BYTES.length,
  });
  expect(hub.askedAt("bytes").length).toBe(1);
});

test("every command takes the name of a model, fetches it once and then needs no network", async () => {
  const first = await succeed(["tokenize", "Once", "--model", NAME, "--json"], options);
  expect(first.text).toBe("[1,403]\n");
  const requests = hub.asked.length;
  const offline = using({ HF_ENDPOINT: "http://127.0.0.1:9" });
  const story = ["generate", "Once upon a time", "--max-tokens", "10", "--temperature", "0"];
  const { text } = await succeed([...story, "--model", `${NAME}:Q4_K_M`], offline);
  expect(text).toBe("Once upon a time, there was a little girl named Lily\n");
  expect((await succeed(["detokenize", "403", "--model", NAME], offline)).text).toBe("Once\n");
  for (const command of ["inspect", "plan"]) {
    for (const model of [[NAME], ["--model", `${NAME}/${FILE}`]]) {
      const { text } = await succeed([command, ...model, "--context", "64"], offline);
      expect(text.length).toBeGreaterThan(100);
    }
  }
  const drafted = [...story, "--model", NAME, "--draft", NAME];
  expect((await succeed(drafted, offline)).text).toBe(text);
  const named = using({ DAWNSTREAM_MODEL: NAME, HF_ENDPOINT: "http://127.0.0.1:9" });
  expect((await succeed(["tokenize", "Once", "--json"], named)).text).toBe("[1,403]\n");
  expect(hub.asked.length).toBe(requests);
});

test("a program loads a model by its name, and hears how it is fetched", async () => {
  const before = { ...process.env };
  Object.assign(process.env, options.env);
  try {
    const heard: { phase: string; done: number; total: number }[] = [];
    const engine = await Engine.load(NAME, {
      context: 64,
      onProgress: (progress) => heard.push(progress),
    });
    await engine.close();
    const fetched = heard.filter(({ phase }) => phase === "download");
    expect(fetched.at(-1)).toEqual({ phase: "download", done: BYTES.length, total: BYTES.length });
    expect(heard.slice(0, fetched.length)).toEqual(fetched); // before all else
    const tokenizer = await loadTokenizer(`${hub.endpoint}/${REPO}/blob/main/${FILE}`);
    expect(tokenizer.encode("Once")).toEqual([1, 403]);
    expect(hub.askedAt("bytes").length).toBe(1);
  } finally {
    process.env = before;
  }
});

describe("what is refused is one line, without the token", () => {
  test.each<[string, readonly string[], RegExp]>([
    [
      "no name",
      ["pull", "model.gguf"],
      /"model\.gguf" is not a name of a model: expected hf:OWNER/,
    ],
    ["half a name", ["pull", "hf:owner"], /Invalid model "hf:owner": expected hf:OWNER\/REPO/],
    ["no such repository", ["pull", "hf:a/none"], /127\.0\.0\.1:\d+ has no hf:a\/none \(404\)/],
    ["no such weights", ["pull", `${NAME}:Q8_0`], /has no model of "Q8_0" weights: there are tiny/],
    ["in --model", ["generate", "Once", "--model", "hf:a/none"], /has no hf:a\/none \(404\)/],
    ["plain http", ["pull", "http://example.com/a.gguf"], /must begin with https:\/\//],
    ["nothing", ["pull"], /missing required argument 'model'/],
  ])("%s", async (_, args, says) => {
    await fail(args, says, options);
  });

  test("a wrong token, proxy or endpoint", async () => {
    hub.next("list", status(401, { "x-error-message": `Bad token ${TOKEN}` }));
    const { stderr, status: code } = await dawnstream(["pull", NAME], options);
    expect(stderr).toEqual([expect.stringMatching(/HF_TOKEN is not valid or has no access/)]);
    expect(stderr[0]).not.toContain(TOKEN);
    expect(code).toBe(2);
    const secret = { HTTP_PROXY: "ht!tp://user:hunter2@proxy" };
    const run = await dawnstream(["pull", NAME], using(secret));
    expect(run.stderr).toEqual([expect.stringMatching(/^error: HTTPS_PROXY or HTTP_PROXY is no /)]);
    expect(run.stderr[0]).not.toContain("hunter2");
    await fail(["pull", NAME], /HF_ENDPOINT is no URL: "hub"/, using({ HF_ENDPOINT: "hub" }));
  });

  test("no network", async () => {
    const nowhere = using({ HF_ENDPOINT: "http://127.0.0.1:9" });
    await fail(["pull", NAME], /cannot be reached: it refuses connections\.$/, nowhere);
  });
});

describe("Ctrl-C", () => {
  /** Sends the first part of the file, and then the signal. */
  const stopAfter = (child: () => ChildProcess) =>
    hub.next("bytes", (_, response) => {
      response.writeHead(200, { "content-length": BYTES.length });
      response.write(BYTES.subarray(0, 1_000_000), () => {
        const look = setInterval(() => {
          const part = readdirSync(folder()).find((name) => name.endsWith(".part"));
          if (part === undefined || readFileSync(join(folder(), part)).length < 1_000_000) return;
          clearInterval(look);
          child().kill("SIGINT");
        }, 20);
      });
    });

  test.each([
    ["pull", ["pull", NAME]],
    ["a command that needs the model", ["generate", "Once", "--model", NAME]],
  ])("stops %s with status 130, and the next run goes on", async (_, args) => {
    let child: ChildProcess | undefined;
    stopAfter(() => child!);
    const onStart = (started: ChildProcess) => {
      child = started;
    };
    const run = await dawnstream(args, { ...options, onStart });
    expect(run.stderr).toEqual(["[stopped; the same command goes on from there]"]);
    expect([run.status, run.text]).toEqual([130, ""]);
    const { text } = await succeed(["models"], options);
    expect(text).toMatch(new RegExp(`^${NAME}/${FILE} +1\\.0 MB +[\\d: -]+ +incomplete$`, "m"));
    await succeed(["pull", NAME], options);
    expect(hub.askedAt("bytes").at(-1)!.headers.range).toBe("bytes=1000000-");
    expect(readFileSync(join(folder(), FILE)).equals(BYTES)).toBe(true);
    expect(readdirSync(folder()).sort()).toEqual(["files.json", FILE, `${FILE}.json`]);
  });
});

test("two processes at the same time fetch a model once", async () => {
  hub.next("bytes", (request, response, bytes) => {
    setTimeout(() => sendBytes(request, response, bytes), 3000);
  });
  const runs = await Promise.all([1, 2].map(() => dawnstream(["pull", NAME], options)));
  for (const run of runs) {
    expect([run.status, run.text]).toEqual([0, `${join(folder(), FILE)}\n`]);
  }
  expect(readFileSync(join(folder(), FILE)).equals(BYTES)).toBe(true);
  expect(readdirSync(folder()).sort()).toEqual(["files.json", FILE, `${FILE}.json`]);
});

test("one that is killed leaves what it has to the other", async () => {
  let first: ChildProcess | undefined;
  hub.next("bytes", (_, response) => {
    response.writeHead(200, { "content-length": BYTES.length });
    response.write(BYTES.subarray(0, 1_000_000));
  });
  const killed = dawnstream(["pull", NAME], {
    ...options,
    onStart: (child) => {
      first = child;
    },
  });
  await until(() => partBytes() === 1_000_000);
  const second = dawnstream(["pull", NAME], options);
  await until(() => hub.askedAt("list").length === 2);
  first!.kill("SIGKILL");
  expect((await killed).status).toBeNull();
  const { status: code, text } = await second;
  expect([code, text]).toEqual([0, `${join(folder(), FILE)}\n`]);
  expect(hub.askedAt("bytes").at(-1)!.headers.range).toBe("bytes=1000000-");
  expect(readFileSync(join(folder(), FILE)).equals(BYTES)).toBe(true);
});

/** Bytes of the incomplete file. */
function partBytes(): number {
  try {
    const part = readdirSync(folder()).find((name) => name.endsWith(".part"));
    return part === undefined ? 0 : readFileSync(join(folder(), part)).length;
  } catch {
    return 0;
  }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe("a proxy", () => {
  const through: string[] = [];
  const proxy: Server = createServer();
  proxy.on("connect", (request, socket) => {
    through.push(request.url ?? "");
    const [host, port] = (request.url ?? "").split(":");
    const far = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 Connected\r\n\r\n");
      far.pipe(socket).pipe(far);
    });
    for (const end of [far, socket]) end.on("error", () => {});
  });
  afterAll(() => void proxy.close());

  test("of HTTP_PROXY is used, but for the hosts of NO_PROXY", async () => {
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const HTTP_PROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    await succeed(["pull", NAME], using({ HTTP_PROXY, NO_PROXY: "localhost" }));
    expect(new Set(through)).toEqual(new Set([hub.endpoint.replace("http://", "")]));
    through.length = 0;
    await succeed(["pull", NAME], using({ HTTP_PROXY, NO_PROXY: "*" }));
    expect(through).toEqual([]);
  });
});

describe("models", () => {
  interface Listed {
    readonly folder: string;
    readonly bytes: number;
    readonly models: readonly { readonly name: string; readonly isComplete: boolean }[];
  }
  const names = async () => {
    const { models } = await json<Listed>(["models", "--json"], options);
    return models.map(({ name }) => name);
  };

  test("lists what there is", async () => {
    const empty = await succeed(["models"], options);
    expect(empty.text).toBe(`0 models, 0 bytes in ${join(cache, "models")}\n`);
    hub.files.set("b-Q8_0-00001-of-00002.gguf", Buffer.alloc(1000, 1));
    hub.files.set("b-Q8_0-00002-of-00002.gguf", Buffer.alloc(500, 2));
    for (const name of [NAME, `${NAME}:Q8_0`, `${hub.far}/bytes/${FILE}`]) {
      await succeed(["pull", name], options);
    }
    const { text } = await succeed(["models"], options);
    expect(text.split("\n").map((line) => line.replaceAll(/ {2,}/g, " ").trim())).toEqual([
      "model size last used",
      expect.stringMatching(/^-+ -+ -+$/),
      expect.stringMatching(new RegExp(`^${NAME}/b-Q8_0-00001-of-00002\\.gguf 1\\.5 kB \\d{4}-`)),
      expect.stringMatching(new RegExp(`^${NAME}/${FILE} 2\\.5 MB \\d{4}-\\d\\d-\\d\\d \\d\\d:`)),
      expect.stringMatching(new RegExp(`^${hub.far}/bytes/${FILE} 2\\.5 MB`)),
      "",
      `3 models, 5.1 MB in ${join(cache, "models")}`,
      "",
    ]);
    const listed = await json<Listed>(["models", "--json"], options);
    expect(listed).toMatchObject({
      folder: join(cache, "models"),
      bytes: 2 * BYTES.length + 1500,
      models: [
        { name: `${NAME}/b-Q8_0-00001-of-00002.gguf`, bytes: 1500, isComplete: true },
        { name: `${NAME}/${FILE}`, bytes: BYTES.length, isComplete: true },
        { bytes: BYTES.length, isComplete: true },
      ],
    });
  });

  test("removes one, those with a type of weights, or all of a repository", async () => {
    hub.files.set("b-Q8_0.gguf", Buffer.alloc(1000, 1));
    hub.files.set("c-F16.gguf", Buffer.alloc(500, 2));
    for (const end of ["", ":Q8_0", ":F16"]) await succeed(["pull", NAME + end], options);
    const { text } = await succeed(["models", "--remove", `${NAME}/c-F16.gguf`], options);
    expect(text).toBe(`${NAME}/c-F16.gguf\nremoved 1 model, 500 bytes\n`);
    await fail(
      ["models", "--remove", `${NAME}/c-F16.gguf`],
      /^error: No model "hf:.*" in .*: there are hf:.*b-Q8_0\.gguf, hf:/,
      options,
    );
    await succeed(["models", "--remove", `${NAME}:q8_0`], options);
    expect(await names()).toEqual([`${NAME}/${FILE}`]);
    const removed = await json(["models", "--remove", NAME, "--json"], options);
    expect(removed).toMatchObject({ bytes: BYTES.length, removed: [{ name: `${NAME}/${FILE}` }] });
    expect(await names()).toEqual([]);
    expect(readdirSync(join(cache, "models"))).toEqual([]);
    await fail(["models", "--remove", "../.."], /No model "\.\.\/\.\."/, options);
  });

  test("does not remove what is being fetched", async () => {
    hub.next("bytes", (_, response) => {
      response.writeHead(200, { "content-length": BYTES.length });
      response.write(BYTES.subarray(0, 1000));
    });
    const child = spawn(process.execPath, ["dist/cli/main.js", "pull", NAME], {
      env: { ...process.env, ...options.env },
      stdio: "ignore",
    });
    try {
      await until(() => partBytes() === 1000);
      await fail(["models", "--remove", NAME], /is being fetched: stop that first\.$/, options);
    } finally {
      child.kill("SIGKILL");
      await new Promise((resolve) => child.on("close", resolve));
    }
    await succeed(["models", "--remove", NAME], options);
    expect(await names()).toEqual([]);
  });
});
