// How fast is a whole model, at which position, and which kernels take the time? What was computed while it was timed is
// checked: computed again another way, it must be the same.

import type { Engine } from "../../engine/engine.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { checkFits } from "../../engine/tasks/checks.ts";
import { UserError } from "../../errors.ts";
import {
  type Measurement,
  PROFILED,
  timeDecoding,
  timePrompt,
  WARM_UP,
} from "../../laboratory/experiments/speed.ts";
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
