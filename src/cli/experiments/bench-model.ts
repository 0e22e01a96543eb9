// How fast is a whole model, at which position, and which kernels take the time? What was computed while it was timed is
// checked: computed again another way, it must be the same.

import { partsOf } from "../../context/cache/sequence.ts";
import type { Engine } from "../../engine/engine.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { LAST_LOGITS, NOTHING } from "../../engine/run/step.ts";
import { checkFits } from "../../engine/tasks/checks.ts";
import { chosenTokens } from "../../engine/tasks/chosen-tokens.ts";
import { prefill } from "../../engine/tasks/prefill.ts";
import { UserError } from "../../errors.ts";
import type { PhaseProfile } from "../../kernels/gpu/profiler.ts";
import { median, nmse } from "../../numbers.ts";
import { writePlot } from "../reports/plot.ts";
import { profileTable } from "../reports/profile-report.ts";
import { table } from "../reports/table.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  type EngineFlags,
  engineOptions,
  integer,
  integers,
  pictureFile,
} from "../terminal/flags.ts";
import {
  interruptSignal,
  loadInWords,
  note,
  progress,
  withEngine,
  write,
  writeJson,
} from "../terminal/terminal.ts";

interface Flags extends EngineFlags {
  readonly at?: readonly number[];
  readonly tokens: number;
  readonly rounds: number;
  readonly json?: boolean;
  readonly plot?: string;
}

interface Measurement {
  /** Position of the first token that is decoded, or length of the prompt. */
  readonly at: number;
  readonly msPerToken: number;
  /** Of the host a step, waiting left out. */
  readonly hostMs: number;
  readonly samples: readonly number[];
  readonly profile: readonly PhaseProfile[];
}

/** Tokens decoded before any is timed, and tokens whose kernels are timed one by one. */
const WARM_UP = 4;
const PROFILED = 8;

const GREEDY = { temperature: 0, seed: 0 };

/** `dawnstream bench decode` */
export function benchDecodeCommand(): Command {
  const command = new Command("decode")
    .description("time decoding by position, with each kernel's share")
    .example("dawnstream bench decode --at 128,512 --tokens 32")
    .option("--at <list>", "positions (default: 128, 512 and 2048, where they fit)", integers)
    .option("--tokens <n>", "tokens to time at each", integer, 32);
  return addReportFlags(command).action((flags: Flags) => {
    if (flags.tokens < 1) throw new UserError("Invalid --tokens: expected at least 1.");
    const more = WARM_UP + flags.tokens + PROFILED;
    return bench("decode", flags, [128, 512, 2048], more, (engine, at) =>
      timeDecoding(engine, at, flags.tokens),
    );
  });
}

/** `dawnstream bench prefill` */
export function benchPrefillCommand(): Command {
  const command = new Command("prefill")
    .description("time prompts by length, with each kernel's share")
    .example("dawnstream bench prefill --at 32,128 --rounds 3")
    .option("--at <list>", "lengths (default: 32, 128 and 512, where they fit)", integers)
    .option("--rounds <n>", "times that each is computed", integer, 5);
  return addReportFlags(command).action((flags: Flags) => {
    if (flags.rounds < 1) throw new UserError("Invalid --rounds: expected at least 1.");
    return bench("prefill", flags, [32, 128, 512], 0, (engine, at) =>
      timePrompt(engine, at, flags.rounds),
    );
  });
}

function addReportFlags(command: Command): Command {
  return addEngineFlags(command, {
    profile: "the table has the share of each kernel",
  })
    .option("--json", "print one object")
    .option("--plot <file>", "draw time a token: .svg or .png", pictureFile);
}

async function bench(
  what: "decode" | "prefill",
  flags: Flags,
  usual: readonly number[],
  more: number,
  measure: (engine: Engine, at: number) => Promise<Measurement>,
): Promise<void> {
  const signal = interruptSignal();
  let places = flags.at ?? [];
  const check = (model: OpenedModel) => {
    const fits = (at: number) => checkFits(model, model.setting.policy, at + more);
    if (flags.at) for (const at of places) fits(at);
    else places = usual.filter((at) => succeeds(() => fits(at)));
    if (places.some((at) => at < 2)) throw new UserError("Invalid --at: expected at least 2.");
    if (places.length === 0) fits(usual[0]!);
  };
  await withEngine(flags.model, engineOptions(flags), check, async (engine) => {
    engine.profiler.stop(); // these benches profile by themselves, after what they time
    const bar = progress(what, places.length, "places");
    const measured: Measurement[] = [];
    try {
      for (const at of places) {
        if (signal.aborted) break;
        measured.push(await measure(engine, at));
        bar.update(measured.length);
      }
    } finally {
      bar.stop();
    }
    await report(what, engine, measured, flags);
    if (signal.aborted) process.exitCode = 130; // as a shell reports Ctrl-C
  });
}

function succeeds(check: () => void): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}

/** Ids that spread over the vocabulary: what they are does not matter to a kernel. */
function someText(engine: Engine, length: number): number[] {
  const { vocabulary: V } = engine.config;
  return Array.from({ length }, (_, i) => (1 + i * 7919) % V);
}

async function timeDecoding(engine: Engine, at: number, tokens: number): Promise<Measurement> {
  const ids = someText(engine, at + 1);
  const sequence = engine.sequence();
  try {
    await prefill(engine, sequence, ids.slice(0, -1), LAST_LOGITS);
    const samples: number[] = [];
    const host: number[] = [];
    let [time, spent] = [performance.now(), engine.usage.hostMs];
    const { stepsAhead: ahead } = engine.loaded;
    const run = { draw: GREEDY, first: ids.at(-1)!, budget: WARM_UP + tokens, ahead };
    for await (const { id } of chosenTokens(engine, sequence, run)) {
      const [now, used] = [performance.now(), engine.usage.hostMs];
      samples.push(now - time);
      host.push(used - spent);
      [time, spent] = [now, used];
      ids.push(id);
    }
    const last = ids.pop()!;
    sequence.clear();
    expectLikely(await prefill(engine, sequence, ids, LAST_LOGITS), last);
    engine.profiler.start();
    const profiled = { draw: GREEDY, first: last, budget: PROFILED, ahead };
    for await (const _ of chosenTokens(engine, sequence, profiled));
    const profile = await engine.profiler.report();
    engine.profiler.stop();
    return {
      at,
      msPerToken: median(samples.slice(WARM_UP)),
      hostMs: median(host.slice(WARM_UP)),
      samples: samples.slice(WARM_UP),
      profile,
    };
  } finally {
    sequence.clear();
  }
}

/** A token that was decoded must be the likeliest of a prompt, too, but for what another order of sums makes of it. */
function expectLikely(logits: Float32Array, id: number): void {
  const best = logits.reduce((a, b) => Math.max(a, b));
  const rms = Math.sqrt(logits.reduce((sum, x) => sum + x * x, 0) / logits.length);
  if (best - logits[id]! <= 1e-2 * rms) return;
  throw new Error(`decoding gave token ${id}, which is not the likeliest: the times mean nothing`);
}

async function timePrompt(engine: Engine, at: number, rounds: number): Promise<Measurement> {
  const ids = someText(engine, at);
  const sequence = engine.sequence();
  try {
    const expected = await inPieces(engine, ids);
    const samples: number[] = [];
    const host: number[] = [];
    for (let round = 0; round <= rounds; round++) {
      const [began, spent] = [performance.now(), engine.usage.hostMs];
      const logits = await prefill(engine, sequence, ids, LAST_LOGITS);
      if (round > 0) samples.push(performance.now() - began); // the first may have to compile
      host.push(engine.usage.hostMs - spent);
      if (round === 0) expectSame(logits, expected);
      sequence.clear();
    }
    engine.profiler.start();
    await prefill(engine, sequence, ids, LAST_LOGITS);
    const profile = await engine.profiler.report();
    engine.profiler.stop();
    return { at, msPerToken: median(samples) / at, hostMs: median(host), samples, profile };
  } finally {
    sequence.clear();
  }
}

/** The logits after a prompt that is computed a few tokens at a time: tiles end elsewhere, and keys come from pages. */
async function inPieces(engine: Engine, ids: readonly number[]): Promise<Float32Array> {
  const sequence = engine.sequence();
  try {
    for (const { tokens, isLast } of partsOf(ids, () => Math.min(sequence.stepLimit, 19))) {
      if (isLast) return await engine.run({ sequence, tokens, wanted: LAST_LOGITS });
      await engine.run({ sequence, tokens, wanted: NOTHING });
    }
    throw new Error("a prompt has at least one token");
  } finally {
    sequence.clear();
  }
}

/** Keys and values are rounded, and a rounding may fall to the other side, by an eighth in q4_0: hence no less than 1e-4. */
function expectSame(found: Float32Array, expected: Float32Array): void {
  const error = nmse(found, expected);
  if (error <= 1e-4) return;
  throw new Error(`a prompt in pieces has other logits (NMSE ${error})`);
}

async function report(
  what: "decode" | "prefill",
  engine: Engine,
  measured: readonly Measurement[],
  flags: Flags,
): Promise<void> {
  const rows = measured.map(({ profile, ...row }) => {
    const mine = profile.filter(({ phase }) => phase === what);
    const dispatches = mine.reduce(
      (sum, { steps, kernels }) => sum + kernels.reduce((n, k) => n + k.dispatches, 0) / steps,
      0,
    );
    const gigabytes =
      what === "decode" ? engine.loaded.stepBytes / row.msPerToken / 1e6 : undefined;
    return {
      ...row,
      tokensPerSecond: 1000 / row.msPerToken,
      dispatches,
      ...(gigabytes === undefined ? {} : { weightGigabytesPerSecond: gigabytes }),
      profile,
    };
  });
  if (flags.json) {
    const { adapter, ms: loadMs, stepBytes } = engine.loaded;
    await writeJson({ what, model: engine.config.name, adapter, loadMs, stepBytes, rows });
  } else {
    const head = ["at", "ms a token", "tok/s", "host ms a step", "dispatches a step"];
    await write(
      table(
        what === "decode" ? [...head, "weights GB/s"] : head,
        rows.map((row) => [
          row.at,
          row.msPerToken.toFixed(3),
          row.tokensPerSecond.toFixed(1),
          row.hostMs.toFixed(3),
          row.dispatches.toFixed(0),
          ...(row.weightGigabytesPerSecond ? [row.weightGigabytesPerSecond.toFixed(2)] : []),
        ]),
      ),
    );
    for (const { at, profile } of rows) {
      for (const phase of profile) await write(`\nat ${at}\n${profileTable(phase)}`);
    }
  }
  note(`[${loadInWords(engine)} | ${engine.loaded.adapter}]`);
  if (flags.plot === undefined) return;
  await writePlot(flags.plot, {
    title: what === "decode" ? "What does a token cost, and where?" : "What does a prompt cost?",
    subtitle: `${engine.config.name}, ${engine.loaded.adapter.split(",")[0]}`,
    panels: [
      {
        x: what === "decode" ? "position (tokens)" : "length (tokens)",
        y: "time a token (ms)",
        points: rows.map((row) => ({ x: row.at, y: row.msPerToken, series: "measured" })),
      },
    ],
  });
}
