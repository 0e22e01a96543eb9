// Where the GPU's time goes, as the engine tells it: every dispatch counted, its time between two timestamps.

import { expect, test } from "vitest";
import { type PhaseProfile, UserError } from "../../src/index.ts";
import { loadEngine } from "../support/engine.ts";
import { tinyModel } from "../support/tiny-model.ts";

const model = tinyModel().bytes;
const PROMPT = [2, 3, 4, 5, 6, 7];
const OPTIONS = { maxTokens: 9, temperature: 0, ignoreEos: true };

test("a profile counts every dispatch of every step, and changes no token", async () => {
  const engine = await loadEngine(model);
  const { tokens } = await engine.complete(PROMPT, OPTIONS);
  expect(await engine.profiler.report()).toEqual([]);

  engine.profiler.start();
  expect((await engine.complete(PROMPT, OPTIONS)).tokens).toEqual(tokens);
  const phases = await engine.profiler.report();
  expect(phases.map(({ phase, steps }) => [phase, steps])).toEqual([
    ["prefill", 1],
    ["decode", OPTIONS.maxTokens - 1],
  ]);
  for (const { steps, gpuMs, kernels } of phases) {
    expect(gpuMs).toBeGreaterThan(0);
    const inKernels = kernels.reduce((sum, { ms }) => sum + ms, 0);
    expect(inKernels).toBeGreaterThan(0.3 * gpuMs);
    expect(inKernels).toBeLessThanOrEqual(gpuMs);
    for (const { ms, dispatches } of kernels) {
      expect(ms).toBeGreaterThan(0);
      expect(dispatches % steps).toBe(0); // steps of one phase are alike
    }
    expect(kernels.map(({ ms }) => ms)).toEqual(kernels.map(({ ms }) => ms).sort((a, b) => b - a));
  }
  const decode = phases[1]!;
  const attention = decode.kernels.filter(({ kernel }) => kernel.startsWith("attention."));
  expect(attention.reduce((sum, k) => sum + k.dispatches, 0)).toBe(
    engine.config.layers * decode.steps,
  );
  // One split: all that is prepared runs, but what joins splits.
  const each = decode.kernels.reduce((sum, k) => sum + k.dispatches, 0) / decode.steps;
  expect(each).toBe(engine.usage.dispatches - engine.config.layers);

  expect(await engine.profiler.report(), "since the last report").toEqual([]);
  engine.profiler.stop();
  await engine.complete(PROMPT, OPTIONS);
  expect(await engine.profiler.report()).toEqual([]);
});

test("`onProfile` is told once, at close", async () => {
  const told: (readonly PhaseProfile[])[] = [];
  const engine = await loadEngine(model, { onProfile: (phases) => told.push(phases) });
  await engine.complete(PROMPT, OPTIONS);
  expect(told).toEqual([]);
  await engine.close();
  await engine.close();
  expect(told.map((phases) => phases.map(({ phase }) => phase))).toEqual([["prefill", "decode"]]);
});

test("an adapter without timestamps says so, and leaves nothing open", async () => {
  const device = { refuse: ["timestamp-query" as const] };
  const failed = loadEngine(model, { device, onProfile: () => {} });
  await expect(failed).rejects.toThrow(UserError);
  await expect(failed).rejects.toThrow(/timestamp queries/);
  const engine = await loadEngine(model, { device });
  expect(() => {
    engine.profiler.start();
  }).toThrow(/timestamp queries/);
});
