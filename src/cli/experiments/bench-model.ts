// How fast is a whole model, at which position, and which kernels take the time? What was computed
// while it was timed is checked: computed again another way, it must be the same.

import type { Engine } from "../../engine/engine.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { UserError } from "../../errors.ts";
import {
  decodingPlaces,
  decodingSpeeds,
  promptPlaces,
  promptSpeeds,
  type Speed,
} from "../../laboratory/experiments/speed.ts";
import type { Watch } from "../../laboratory/watch.ts";
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
  withEngine,
  withProgress,
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
    return bench("decode", flags, {
      placesIn: (model) => decodingPlaces(model, flags.tokens, flags.at),
      measure: (engine, places, watch) => decodingSpeeds(engine, places, flags.tokens, watch),
    });
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
    return bench("prefill", flags, {
      placesIn: (model) => promptPlaces(model, flags.at),
      measure: (engine, places, watch) => promptSpeeds(engine, places, flags.rounds, watch),
    });
  });
}

function addReportFlags(command: Command): Command {
  return addEngineFlags(command, {
    profile: "the table has the share of each kernel",
  })
    .option("--json", "print one object")
    .option("--plot <file>", "draw time a token: .svg or .png", pictureFile);
}

interface Bench {
  readonly placesIn: (model: OpenedModel) => readonly number[];
  readonly measure: (
    engine: Engine,
    places: readonly number[],
    watch: Watch,
  ) => Promise<readonly Speed[]>;
}

async function bench(
  what: "decode" | "prefill",
  flags: Flags,
  { placesIn, measure }: Bench,
): Promise<void> {
  const signal = interruptSignal();
  let places: readonly number[] = [];
  const check = (model: OpenedModel) => {
    places = placesIn(model);
    if (places.some((at) => at < 2)) throw new UserError("Invalid --at: expected at least 2.");
  };
  await withEngine(flags.model, engineOptions(flags), check, async (engine) => {
    const rows = await withProgress(what, "places", (onProgress) =>
      measure(engine, places, { onProgress, signal }),
    );
    await report(what, engine, rows, flags);
    if (signal.aborted) process.exitCode = 130; // as a shell reports Ctrl-C
  });
}

async function report(
  what: "decode" | "prefill",
  engine: Engine,
  rows: readonly Speed[],
  flags: Flags,
): Promise<void> {
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
