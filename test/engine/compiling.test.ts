// Compiling is a phase of loading, and what only some requests need is compiled for the first of them.

import { expect, test, vi } from "vitest";
import { Engine, type LoadProgress, SHIPPED_MODEL } from "../../src/index.ts";
import { Commands } from "../../src/kernels/gpu/commands.ts";
import { KernelLibrary } from "../../src/kernels/gpu/kernel.ts";

test("loading reports weights, then kernels, each to its end; generating needs none that is new", async () => {
  const heard: LoadProgress[] = [];
  const dispatched = new Set<string>();
  const asked = vi.spyOn(KernelLibrary.prototype, "kernel");
  const run = vi.spyOn(Commands.prototype, "run");
  const engine = await Engine.load(SHIPPED_MODEL, { onProgress: (now) => heard.push(now) });
  try {
    const phases = heard.map(({ phase }) => phase).filter((phase) => phase !== "adapter");
    expect(phases).toEqual(phases.toSorted((a, b) => b.localeCompare(a))); // weights before kernels
    for (const phase of ["weights", "kernels"]) {
      const last = heard.findLast((now) => now.phase === phase)!;
      expect(last.done).toBe(last.total);
    }
    const kernels = heard.filter(({ phase }) => phase === "kernels");
    expect(kernels.map(({ done }) => done)).toEqual(kernels.map((_, i) => i));
    expect(engine.loaded.compiled.kernels).toBe(kernels.at(-1)!.total);
    expect(engine.loaded.compiled.kernels).toBeGreaterThan(10);
    expect(engine.loaded.compiled.ms).toBeGreaterThan(0);
    expect(engine.loaded.compiled.ms).toBeLessThan(engine.loaded.ms);

    // Every kernel has run once before the first token, by which drivers that compile late have compiled it.
    for (const [dispatches] of run.mock.calls)
      for (const { kernel } of dispatches) dispatched.add(kernel.name);
    const before = dispatched.size;
    heard.length = 0;
    run.mockClear();
    asked.mockClear();
    await engine.complete("Once upon a time", { maxTokens: 3, temperature: 0 });
    await engine.complete("Once upon a time", { maxTokens: 3, temperature: 0.8 });
    await engine.score(engine.tokenize("Once upon a time there was a dog."));
    for (const [dispatches] of run.mock.calls)
      for (const { kernel } of dispatches) dispatched.add(kernel.name);
    expect(dispatched.size).toBe(before);
    expect(heard).toEqual([]);
    expect(asked).not.toHaveBeenCalled();
  } finally {
    vi.restoreAllMocks();
    await engine.close();
  }
});

test("a request that is the first to need a kernel says that it waits for it; the next does not", async () => {
  const heard: LoadProgress[] = [];
  const engine = await Engine.load(SHIPPED_MODEL, { onProgress: (now) => heard.push(now) });
  try {
    heard.length = 0;
    const look = async () => {
      for await (const { weights } of engine.attention("Once upon a time", { layer: 2 }))
        expect(weights.length).toBeGreaterThan(0);
    };
    await look();
    expect(heard).toEqual([
      { phase: "kernels", done: 0, total: 1 },
      { phase: "kernels", done: 1, total: 1 },
    ]);
    await look();
    expect(heard.length).toBe(2);
  } finally {
    await engine.close();
  }
});
