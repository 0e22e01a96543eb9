// By how many workgroups should an adapter share the product of a matrix with a vector? Few load the vector less often, many
// keep more of it busy: between a software adapter with two threads and a large card lies a factor of a hundred. So it is
// measured where a model is first loaded on an adapter, and remembered. How many rows a workgroup takes changes no sum, and
// so no bit of a text; which page multiplies would: that is a rule (lanes.ts), not a measurement.

import type { Device } from "./device.ts";
import { Q4_K } from "./formats/q4-k.ts";
import { KernelLibrary, type ShaderSource } from "./kernel.ts";
import { matvecTiling, usualWorkgroups } from "./lanes.ts";
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

/** Numbers of workgroups, and a matrix [n, k] that they share by 32 to 8 rows, or by 256 to 32. */
const CARD = { kind: "card", n: 4096, k: 2048, candidates: [128, 256, 512] };
const SOFTWARE = { kind: "software", n: 1024, k: 1024, candidates: [4, 8, 16, 32] };

/** Of which the first pays for what is new. */
const ROUNDS = 12;
/** A candidate is made to take so long in a round: a submit costs about 0.1 ms itself. */
const ROUND_MS = 4;
const MOST_REPEATS = 256;

/**
 * As remembered of an adapter and the page that it multiplies with, or measured on a second device that `open` opens for
 * it, and that is closed again. Where that fails it is the usual number, and the adapter will be asked again.
 */
export async function workgroupsOf(
  device: Device,
  memory: Memory,
  open: () => Promise<Device>,
  shaders: ShaderSource,
): Promise<number> {
  const { vendor, architecture, device: model, description } = device.info;
  const { kind, n, k, candidates } = trial(device);
  const { page } = matvecTiling({ device, workgroups: 1 }, Q4_K, n, k, 8);
  const name = ["workgroups", kind, page, vendor, architecture, model, description].join("/");
  const known = await memory.recall(name);
  if (known !== undefined && candidates.includes(known)) return known;
  let measured: number;
  try {
    await using second = await open();
    measured = await measureWorkgroups(second, shaders);
  } catch {
    return usualWorkgroups(device); // what is wrong with the adapter will show without this
  }
  await memory.keep(name, measured);
  return measured;
}

function trial(device: Device) {
  return device.info.isFallbackAdapter ? SOFTWARE : CARD;
}

/** The candidate whose shortest time is the least. They are timed in turns: what else the machine does, it does to all. */
export async function measureWorkgroups(device: Device, shaders: ShaderSource): Promise<number> {
  const { n, k, candidates } = trial(device);
  // A page may not take as many rows as the fewest workgroups would: those that are alike need no trial.
  const byRows = new Map(
    candidates.map((workgroups) => {
      const { overrides } = matvecTiling({ device, workgroups }, Q4_K, n, k, 8);
      return [overrides.ROWS, workgroups];
    }),
  );
  const params = await ParamBlock.create(device, "params");
  const weights = await createWeights(device, "measured", Q4_K, n, k); // zeros, which take as long as others
  const x = await createActivations(device, "x", 1, k);
  const y = await createActivations(device, "y", 1, n);
  const contestants = [...byRows.values()].map((workgroups) => {
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
