// What a lost device is filled from: the file that was loaded, not what lies at its path by then.

import { expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { bytesSource } from "../../src/engine/gguf/source.ts";
import { ContentHash } from "../../src/engine/model/fingerprint.ts";
import { openModel } from "../../src/engine/model/open.ts";
import type { Platform } from "../../src/engine/run/session.ts";
import { ModelChangedError, UserError } from "../../src/index.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { MEASURED } from "../support/engine.ts";
import { tinyModel } from "../support/tiny-model.ts";

const tiny = tinyModel({ ropeFreqs: [1, 2, 3, 4] }).bytes;
const GREEDY = { temperature: 0, maxTokens: 12, ignoreEos: true };

/** The model with one bit of its tensors flipped, `fromEnd` bytes before the end of the file. */
function changed(fromEnd: number): Uint8Array {
  const bytes = tiny.slice();
  bytes[bytes.length - fromEnd]! ^= 1;
  return bytes;
}

/** An engine over a file that can be replaced, and a way to lose its device. */
async function replaceable() {
  const disk = { bytes: tiny };
  const devices: GPUDevice[] = [];
  const platform: Platform = {
    ...nodePlatform,
    measurements: MEASURED,
    requestAdapter: async (gpu) => {
      const adapter = await nodePlatform.requestAdapter(gpu);
      const requestDevice = adapter.requestDevice.bind(adapter);
      adapter.requestDevice = async (descriptor) => {
        const device = await requestDevice(descriptor);
        devices.push(device);
        return device;
      };
      return adapter;
    },
  };
  const model = await openModel("test.gguf", async (path) => bytesSource(path, disk.bytes));
  const engine = await Engine.open(platform, model, { context: 64 });
  return { engine, disk, lose: () => devices.at(-1)!.destroy() };
}

test("another file at the path ends in one line, and the old one puts it right", async () => {
  const { engine, disk, lose } = await replaceable();
  const expected = await engine.complete([2, 3, 4], GREEDY);
  const before = await engine.fingerprint();
  const others = [
    changed(1000),
    changed(Math.floor(tiny.length / 4)),
    tinyModel({ ropeFreqs: [1, 2, 3, 5] }).bytes,
    tinyModel({ biases: "all" }).bytes, // other tensors
    tinyModel({ ropeFreqs: [1, 2, 3, 4], tied: true }).bytes,
  ];
  for (const other of others) {
    disk.bytes = other;
    lose();
    const failure = engine.complete([2, 3, 4], GREEDY);
    await expect(failure).rejects.toThrow(ModelChangedError);
    await expect(failure).rejects.toThrow(/test\.gguf has changed since it was loaded/);
    expect(engine.usage.pages).toBe(0);
  }
  disk.bytes = new Uint8Array(100); // no model at all
  await expect(engine.complete([2, 3, 4], GREEDY)).rejects.toThrow(UserError);
  expect(await engine.fingerprint()).toBe(before);
  disk.bytes = tiny.slice();
  expect((await engine.complete([2, 3, 4], GREEDY)).tokens).toEqual(expected.tokens);
  await engine.close();
});

test("a fingerprint is of the model as it was loaded, and another's for every bit of its tensors", async () => {
  const { engine, disk } = await replaceable();
  const before = await engine.fingerprint();
  disk.bytes = changed(1000);
  expect(await engine.fingerprint()).toBe(before);
  await engine.close();
  const seen = new Set([before]);
  for (const bytes of [changed(1000), changed(Math.floor(tiny.length / 3)), tiny]) {
    const model = await openModel("test.gguf", async (path) => bytesSource(path, bytes));
    const other = await Engine.open({ ...nodePlatform, measurements: MEASURED }, model, {
      context: 64,
    });
    seen.add(await other.fingerprint());
    await other.close();
  }
  expect(seen.size).toBe(3);
});

test("a content hash is that of XXH32's accumulators, however the bytes are cut", () => {
  const bytes = Uint8Array.from({ length: 1003 }, (_, i) => (i * i * 31) & 255);
  const expected = [0x9e3779b1n + 0x85ebca77n, 0x85ebca77n, 0n, -0x9e3779b1n];
  const padded = new Uint8Array(1008);
  padded.set(bytes);
  const words = new Uint32Array(padded.buffer);
  const u32 = (n: bigint) => BigInt.asUintN(32, n);
  words.forEach((word, i) => {
    const sum = u32(expected[i % 4]! + BigInt(word) * 0x85ebca77n);
    expected[i % 4] = u32(u32((sum << 13n) | (sum >> 19n)) * 0x9e3779b1n);
  });
  const hex = [1003n, ...expected].map((n) => n.toString(16).padStart(8, "0")).join("");
  for (const piece of [1, 3, 16, 17, 100, 2000]) {
    const hash = new ContentHash();
    for (let at = 0; at < bytes.length; at += piece) hash.update(bytes.subarray(at, at + piece));
    expect(hash.digest(), `pieces of ${piece}`).toBe(hex);
    expect(hash.digest()).toBe(hex);
  }
});
