// A cache folder of the test's own, and a server in the hub's place, for tests that fetch models.

import { randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, vi } from "vitest";
import { type PulledModel, type PullOptions, pullModel, UserError } from "../../src/index.ts";
import { HubServer, REPO } from "./hub-server.ts";

export const TOKEN = "hf_aVerySecretToken";
export const NAME = `hf:${REPO}`;
export const FILE = "tiny-Q4_K_M.gguf";
/** Of that file, with which each test begins. */
export const BYTES: Buffer = randomBytes(1_000_003);

export const hub: HubServer = await HubServer.start();

/** Has the caches of all tests, and nothing else. */
export const top: string = mkdtempSync(join(tmpdir(), "dawnstream-models-"));
afterAll(() => rm(top, { recursive: true }));

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(top, "cache-"));
  vi.stubEnv("DAWNSTREAM_CACHE", folder);
  vi.stubEnv("HF_ENDPOINT", hub.endpoint);
  vi.stubEnv("HF_TOKEN", TOKEN);
  for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]) {
    vi.stubEnv(name, "");
  }
  hub.reset({ [FILE]: BYTES });
});
afterEach(() => vi.unstubAllEnvs());

/** The cache folder of this test. */
export function cache(): string {
  return folder;
}

/** Where a file of the repository lies. */
export function at(path: string): string {
  return join(folder, "models/hf", REPO, path);
}

/** What lies in the folder of the repository. */
export async function stored(): Promise<string[]> {
  return (await readdir(at(""))).sort();
}

/** All that is there once the model is. */
export const WHOLE = ["files.json", FILE, `${FILE}.json`];

/** Pulls, tells the server what has arrived, and gives the warnings beside the model. */
export async function pull(
  name: string = NAME,
  options: PullOptions = {},
): Promise<PulledModel & { readonly warnings: readonly string[] }> {
  const warnings: string[] = [];
  const model = await pullModel(name, {
    onProgress: ({ done }) => hub.arrived(done),
    ...options,
    onWarning: (line) => warnings.push(line),
  });
  return { ...model, warnings };
}

/** The one line of a refusal, which never shows the token. */
export async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.catch((found: unknown) => found);
  expect(error).toBeInstanceOf(UserError);
  const { message } = error as UserError;
  expect(message).not.toMatch(/[\r\n]/);
  expect(message).not.toContain(TOKEN);
  return message;
}
