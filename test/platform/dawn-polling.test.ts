// What `pollRarely` knows of Dawn's binding: that it polls through the global `setImmediate`, and may do so by a timer.

import { afterEach, expect, test, vi } from "vitest";
import { USAGE } from "../../src/kernels/gpu/usage-flags.ts";
import { pollRarely } from "../../src/platform/dawn-polling.ts";
import { openDevice } from "../support/gpu.ts";

/** So many that copying them is not over at once. */
const BYTES = 64 << 20;

const original = globalThis.setImmediate;
afterEach(() => {
  globalThis.setImmediate = original;
});

test("Dawn polls as it is told while it is waited for pollRarely, and nobody else is touched", async () => {
  await using device = await openDevice();
  const counting = vi.fn(original);
  globalThis.setImmediate = counting as unknown as typeof setImmediate;
  const usage = USAGE.COPY_SRC | USAGE.COPY_DST;
  const [from, to] = [
    await device.createBuffer("from", BYTES, usage),
    await device.createBuffer("to", BYTES, usage),
  ];
  const wait = () => {
    const encoder = device.handle.createCommandEncoder();
    encoder.copyBufferToBuffer(from, to);
    device.queue.submit([encoder.finish()]);
    return device.queue.onSubmittedWorkDone();
  };
  await wait();
  expect(counting, "polls of its own").toHaveBeenCalled();

  // A long wait, by a timer; a short one; and, as after a short one, more often than a timer could.
  for (const start of [wait, async () => {}, wait]) {
    counting.mockClear();
    await pollRarely(start);
    expect(globalThis.setImmediate).toBe(counting);
    expect(counting, "polls that are waited for pollRarely").not.toHaveBeenCalled();
  }
});

test("an error of the start is passed on, and the global is itself again", async () => {
  const fails = () => {
    throw new Error("no");
  };
  await expect(pollRarely(fails)).rejects.toThrow("no");
  expect(globalThis.setImmediate).toBe(original);
  await expect(pollRarely(async () => Promise.reject(new Error("later")))).rejects.toThrow("later");
});
