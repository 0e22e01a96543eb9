// What is tried again, how often, and after how long.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { UserError } from "../../../src/errors.ts";
import { networkError, PassingError, retryAfter } from "../../../src/platform/models/failures.ts";
import { pause, persist } from "../../../src/platform/models/retry.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Runs to the end: how often it was tried, and how long it took, in milliseconds. */
async function run(work: () => Promise<unknown>, progress?: () => number) {
  let tries = 0;
  const began = Date.now();
  const counted = () => {
    tries++;
    return work();
  };
  const waits: string[] = [];
  const onWait = (line: string) => void waits.push(line);
  const outcome = persist(counted, {
    onWait,
    signal: undefined,
    ...(progress && { progress }),
  }).then(
    () => "done",
    (error: Error) => error.message,
  );
  await vi.runAllTimersAsync();
  return { outcome: await outcome, tries, ms: Date.now() - began, waits };
}

const fail = (error: Error) => () => Promise.reject(error);

test("a cut connection: six tries, further apart each time", async () => {
  const { outcome, tries, ms, waits } = await run(fail(new PassingError("It was cut.")));
  expect([outcome, tries, ms]).toEqual(["It was cut.", 6, 500 + 1000 + 2000 + 4000 + 8000]);
  expect(waits[4]).toBe("It was cut. Trying again in 8 s.");
});

test("tries that come further do not count", async () => {
  let bytes = 0;
  const cut = () => {
    bytes += bytes < 100 ? 1 : 0;
    return Promise.reject(new PassingError("cut"));
  };
  expect((await run(cut, () => bytes)).tries).toBe(100 + 5);
});

test("what cannot pass is not tried again", async () => {
  expect(await run(fail(new UserError("No.")))).toMatchObject({ outcome: "No.", tries: 1 });
  expect(await run(fail(new TypeError("A bug.")))).toMatchObject({ outcome: "A bug.", tries: 1 });
});

test("a server's wish is followed up to two minutes", async () => {
  expect(await run(fail(new PassingError("429", { waitMs: 120_000 })))).toMatchObject({
    tries: 6,
    ms: 600_000,
  });
  expect(await run(fail(new PassingError("429", { waitMs: 120_001 })))).toMatchObject({ tries: 1 });
});

test("without a network there is no second try, unless the network was there", async () => {
  const error = new PassingError("unreached", { isUnreached: true });
  expect((await run(fail(error))).tries).toBe(1);
  let bytes = 0;
  const begun = () => {
    bytes = 1;
    return Promise.reject(error);
  };
  expect((await run(begun, () => bytes)).tries).toBe(6);
});

test("Retry-After has seconds or a date", () => {
  const now = Date.parse("Wed, 21 Oct 2015 07:28:00 GMT");
  expect(retryAfter("120", now)).toBe(120_000);
  expect(retryAfter("Wed, 21 Oct 2015 07:29:00 GMT", now)).toBe(60_000);
  expect(retryAfter("Wed, 21 Oct 2015 07:00:00 GMT", now)).toBe(0);
  expect(retryAfter("soon", now)).toBeUndefined();
  expect(retryAfter(undefined, now)).toBeUndefined();
});

test("a pause ends with its signal", async () => {
  const stop = new AbortController();
  const paused = pause(1000, stop.signal);
  stop.abort(new Error("stopped"));
  await expect(paused).rejects.toThrow("stopped");
  await expect(pause(1000, AbortSignal.abort(new Error("before")))).rejects.toThrow("before");
  expect(vi.getTimerCount()).toBe(0);
});

const asked = { name: "hf:a/b", url: new URL("https://example.com/x") };
const withCode = (code: string, message = "detail") => Object.assign(new Error(message), { code });

test.each<[Error, string, boolean]>([
  [withCode("ECONNRESET"), "hf:a/b: example.com: the connection was cut.", true],
  [withCode("HPE_INVALID_CONSTANT"), "hf:a/b: example.com: it does not speak HTTP.", true],
  [
    new TypeError("x", { cause: withCode("ENETUNREACH") }),
    "cannot be reached: there is no network.",
    true,
  ],
  [new AggregateError([withCode("ECONNREFUSED")]), "it refuses connections.", true],
  [
    withCode("CERT_HAS_EXPIRED", "certificate has expired"),
    "reached: certificate has expired.",
    false,
  ],
  [
    withCode("UND_ERR_ABORTED", "Proxy response (407) !== 200 when HTTP Tunneling"),
    "hf:a/b: the proxy does not connect to example.com (407).",
    false,
  ],
])("%s", (error, says, passes) => {
  const found = networkError(asked, error);
  expect(found.message).toContain(says);
  expect(found instanceof PassingError).toBe(passes);
});
