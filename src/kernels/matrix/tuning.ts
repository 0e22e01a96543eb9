// What is measured on an adapter when a model is first loaded on it, and remembered.
//
// How many workgroups should share the product of a matrix with a vector? Few load the vector less
// often, many keep more of the adapter busy; the best number differs by a factor of a hundred
// between a software adapter with two threads and a large card, so it is measured. The rows of a
// workgroup change no sum, and so no bit of a text. Another shader would: its choice is a rule
// (adapter/tiling.ts), not a measurement. But the subgroup matrices, which no standard has yet,
// must multiply right in a trial before they are used.

import { median } from "../../numbers.ts";
import { type Adapter, offeredMatrixShape, readAdapter, type Tuning } from "../adapter/adapter.ts";
import { targetOf } from "../adapter/target.ts";
import { matvecTiling } from "../adapter/tiling.ts";
import { createActivations } from "../gpu/activations.ts";
import { run } from "../gpu/commands.ts";
import type { Device } from "../gpu/device.ts";
import { KernelError, KernelLibrary, type ShaderSource } from "../gpu/kernel.ts";
import { ParamBlock } from "../gpu/params.ts";
import { F32 } from "../weights/formats/f32.ts";
import { Q4_K } from "../weights/formats/q4-k.ts";
import { createWeights } from "../weights/tensor.ts";
import { uploadWeights } from "../weights/upload.ts";
import { project } from "./products.ts";

/** Figures that were measured on this machine, by name. */
export interface Measurements {
  get(name: string): Promise<number | undefined>;
  /** Keeps a figure for later processes, if possible. */
  set(name: string, value: number): Promise<void>;
}

/**
 * Candidates for the number of workgroups, and a matrix [n, k] of which each takes 32 to 8 rows on
 * a card, 440 to 32 in software.
 */
const CARD = { kind: "card", n: 4096, k: 2048, candidates: [128, 256, 512] };
const SOFTWARE = { kind: "software", n: 1024, k: 1024, candidates: [2, 4, 8, 16, 32] };

/** Rounds that count, after one that warms up. */
const ROUNDS = 15;
/** The product is repeated to fill this time, since a submit itself costs about 0.1 ms. */
const ROUND_MS = 4;
const MAX_REPEATS = 256;
const ABOUT_AS_FAST = 1.04;

/**
 * The remembered tuning of an adapter, or one measured on a second device, which `open` opens and
 * which is closed again. If that fails the defaults are returned and nothing is remembered.
 * `onTrial` is called when a trial begins (0 of 1) and ends.
 */
export async function tuningOf(
  device: Device,
  measurements: Measurements,
  open: () => Promise<Device>,
  shaders: ShaderSource,
  onTrial: (done: number, total: number) => void = () => {},
): Promise<Tuning> {
  const remembered = async (
    what: string,
    names: readonly string[],
    possible: readonly number[],
    measure: (second: Device, shaders: ShaderSource) => Promise<number>,
  ): Promise<number | undefined> => {
    const { vendor, architecture, device: model, description } = device.info;
    const name = [what, hashOf(names.map(shaders)), vendor, architecture, model, description].join(
      "/",
    );
    const known = await measurements.get(name);
    if (known !== undefined && possible.includes(known)) return known;
    let measured: number;
    onTrial(0, 1);
    try {
      await using second = await open();
      measured = await measure(second, shaders);
    } catch {
      return undefined; // if the adapter is broken, loading fails with a better message
    } finally {
      onTrial(1, 1);
    }
    await measurements.set(name, measured);
    return measured;
  };
  const adapter = readAdapter(device);
  const { kind, candidates } = trialOf(adapter);
  const { shader } = trialTiling(adapter);
  const workgroups = await remembered(
    `workgroups/${kind}/${shader}`,
    [shader],
    candidates,
    measureWorkgroups,
  );
  const shape = offeredMatrixShape(device);
  const right =
    shape && (await remembered(`matrices/${shape}`, MATRIX_SHADERS, [0, 1], tryMatrices));
  return { workgroups: workgroups ?? adapter.workgroups, matrices: right === 1 };
}

const MATRIX_SHADERS = ["matrix/matmul-matrices", "matrix/matrices/matrices"];

/** FNV-1a, 32 bits: measurements of other shader texts are not reused. */
function hashOf(texts: readonly string[]): string {
  let hash = 0x811c9dc5;
  for (const char of texts.join("\n")) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
  return (hash >>> 0).toString(16);
}

function trialOf({ isSoftware }: Adapter) {
  return isSoftware ? SOFTWARE : CARD;
}

/** The tiling of the trial's product. */
function trialTiling(adapter: Adapter) {
  const { n } = trialOf(adapter);
  return matvecTiling(adapter, { placement: adapter.placement, n, tokens: "one", least: 8 });
}

/**
 * The fastest candidate; of those that are about as fast, the one with the fewest workgroups, since
 * each has to load and norm the vector.
 */
export async function measureWorkgroups(device: Device, shaders: ShaderSource): Promise<number> {
  const usual = readAdapter(device);
  const { n, k, candidates } = trialOf(usual);
  // The rows of a workgroup are capped: try candidates that come to the same number only once.
  const byRows = new Map(
    candidates.map((workgroups) => {
      const { overrides } = trialTiling({ ...usual, workgroups });
      return [overrides.ROWS, workgroups];
    }),
  );
  const params = await ParamBlock.create(device, "params");
  const weights = await createWeights(device, {
    label: "measured",
    format: Q4_K,
    n,
    k,
    placement: usual.placement,
  }); // weights of zero take as long
  const x = await createActivations(device, "x", 1, k);
  const y = await createActivations(device, "y", 1, n);
  const contestants = [...byRows.values()].map((workgroups) => {
    const library = new KernelLibrary(device, shaders);
    const target = targetOf({ adapter: { ...usual, workgroups }, library, params }, "one");
    const product = project(target, { x, weights, y });
    return { workgroups, library, product };
  });
  await Promise.all(contestants.map(({ library }) => library.ready()));
  params.write({ tokens: 1 });
  const rounds: number[][] = [];
  let repeats = 1;
  for (let round = 0; round <= ROUNDS; round++) {
    const times: number[] = [];
    for (const { product } of contestants) {
      const dispatches = Array.from({ length: repeats }, () => product).flat();
      const began = performance.now();
      run(device, dispatches, { tokens: 1 });
      await device.done();
      times.push((performance.now() - began) / repeats);
    }
    if (round > 0) rounds.push(times);
    repeats = Math.min(MAX_REPEATS, Math.max(1, Math.round(ROUND_MS / Math.min(...times))));
  }
  device.check();
  return contestants[firstOfFastest(rounds)]!.workgroups;
}

/**
 * The first candidate that is about as fast as the fastest, given the times of each round. Other
 * load on the machine varies from round to round, so candidates are compared by the median, over
 * all rounds, of their time divided by the fastest of the same round.
 */
export function firstOfFastest(rounds: readonly (readonly number[])[]): number {
  const slowness = rounds[0]!.map((_, i) =>
    median(rounds.map((times) => times[i]! / Math.min(...times))),
  );
  const most = Math.min(...slowness) * ABOUT_AS_FAST;
  return slowness.findIndex((slow) => slow <= most);
}

/**
 * 1 if subgroup matrices give the same bits as `matmul` for whole numbers whose sums are all exact,
 * else 0.
 */
export async function tryMatrices(device: Device, shaders: ShaderSource): Promise<number> {
  const [n, k, tokens] = [72, 96, 70];
  // In stripes of sixteen columns one factor has thirteen bits, which takes two halves, and the
  // other has three bits.
  const numbers = (count: number, fine: 0 | 1) =>
    Float32Array.from({ length: count }, (_, i) =>
      Math.floor((i % k) / 16) % 2 === fine ? ((i * 2971) % 8191) - 4095 : ((i * 37) % 7) - 3,
    );
  const params = await ParamBlock.create(device, "params");
  const { placement } = readAdapter(device);
  const weights = await createWeights(device, { label: "tried", format: F32, n, k, placement });
  const bytes = new Uint8Array(numbers(n * k, 0).buffer);
  await uploadWeights(device, weights, async (at, into) => {
    into.set(bytes.subarray(at, at + into.length));
  });
  const x = await createActivations(device, "x", tokens, k);
  device.queue.writeBuffer(x.buffer, 0, numbers(tokens * k, 1));
  const results: Uint32Array[] = [];
  for (const matrices of [false, true]) {
    const library = new KernelLibrary(device, shaders);
    const adapter = readAdapter(device, { matrices });
    const y = await createActivations(device, "y", tokens, n);
    const product = project(targetOf({ adapter, library, params }, "several"), { x, weights, y });
    try {
      await library.ready();
    } catch (error) {
      if (matrices && error instanceof KernelError) return 0; // the adapter does not take the shader
      throw error;
    }
    params.write({ tokens });
    run(device, product, { tokens });
    results.push(new Uint32Array(await device.read(y.buffer)));
  }
  device.check();
  const [byNumbers, byMatrices] = results;
  return byNumbers!.every((bits, i) => bits === byMatrices![i]) ? 1 : 0;
}
