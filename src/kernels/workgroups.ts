// By how many workgroups should an adapter share the product of a matrix with a vector? Few load the vector less often, many
// keep more of it busy: between a software adapter with two threads and a large card lies a factor of a hundred. So it is
// measured where a model is first loaded on an adapter, and remembered. How many rows a workgroup takes changes no sum, and
// so no bit of a text; which page multiplies would: that is a rule (lanes.ts), not a measurement.

import type { Device } from "./device.ts";
import { Q4_K } from "./formats/q4-k.ts";
import { KernelLibrary, type ShaderSource } from "./kernel.ts";
import { Ops } from "./ops.ts";
import { ParamBlock } from "./params.ts";
import { run } from "./recorder.ts";
import { createActivations, createWeights } from "./tensor.ts";

/** Numbers that were measured on this machine, by what they tell. */
export interface Memory {
  recall(name: string): Promise<number | undefined>;
  /** Keeps a number for later processes, where it can. */
  keep(name: string, value: number): Promise<void>;
}

/** Numbers of workgroups, and a matrix [n, k] that they share by 64 to 8 rows, or by 256 to 32. */
const CARD = { n: 4096, k: 2048, candidates: [64, 128, 256, 512] };
const SOFTWARE = { n: 1024, k: 1024, candidates: [4, 8, 16, 32] };

/** Of which the first pays for what is new. */
const ROUNDS = 12;
/** A candidate is made to take so long in a round: a submit costs about 0.1 ms itself. */
const ROUND_MS = 4;
const MOST_REPEATS = 256;

/** As remembered of an adapter, or measured on a device that `open` opens for it, and that is closed again. */
export async function workgroupsOf(
  { vendor, architecture, device, description }: GPUAdapterInfo,
  memory: Memory,
  open: () => Promise<Device>,
  shaders: ShaderSource,
): Promise<number> {
  const name = ["workgroups", vendor, architecture, device, description].join("/");
  const known = await memory.recall(name);
  if (known !== undefined && isCandidate(known)) return known;
  await using opened = await open();
  const measured = await measureWorkgroups(opened, shaders);
  await memory.keep(name, measured);
  return measured;
}

function isCandidate(count: number): boolean {
  return [CARD, SOFTWARE].some(({ candidates }) => candidates.includes(count));
}

/** The candidate whose shortest time is the least. They are timed in turns: what else the machine does, it does to all. */
export async function measureWorkgroups(device: Device, shaders: ShaderSource): Promise<number> {
  const { n, k, candidates } = device.info.isFallbackAdapter ? SOFTWARE : CARD;
  const params = await ParamBlock.create(device, "params");
  const weights = await createWeights(device, "measured", Q4_K, n, k); // zeros, which take as long as others
  const x = await createActivations(device, "x", 1, k);
  const y = await createActivations(device, "y", 1, n);
  const contestants = candidates.map((workgroups) => {
    const library = new KernelLibrary(device, shaders, workgroups);
    const product = new Ops(library, params, true).project(x, weights, y);
    return { workgroups, library, product, least: Number.POSITIVE_INFINITY };
  });
  await Promise.all(contestants.map(({ library }) => library.ready()));
  let repeats = 1;
  for (let round = 0; round < ROUNDS; round++) {
    for (const contestant of contestants) {
      const dispatches = Array.from({ length: repeats }, () => contestant.product).flat();
      const began = performance.now();
      run(device, dispatches, {});
      await device.done();
      const ms = (performance.now() - began) / repeats;
      contestant.least = Math.min(contestant.least, ms);
    }
    const shortest = Math.min(...contestants.map(({ least }) => least));
    repeats = Math.min(MOST_REPEATS, Math.max(1, Math.round(ROUND_MS / shortest)));
  }
  device.check();
  return contestants.reduce((best, one) => (one.least < best.least ? one : best)).workgroups;
}
