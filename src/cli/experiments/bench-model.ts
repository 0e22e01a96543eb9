// How fast is a whole model, at which position, and which kernels take the time? What was computed
// while it was timed is checked: computed again another way, it must be the same.

import { InvalidArgumentError } from "commander";
import type { Engine } from "../../engine/engine.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import type { ModelFile } from "../../engine/model/open.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { type EngineOptions, resolveSetting } from "../../engine/options.ts";
import { UserError } from "../../errors.ts";
import {
  decodingPlaces,
  decodingSpeeds,
  moreThanPlace,
  promptPlaces,
  promptSpeeds,
  type Speed,
} from "../../laboratory/experiments/speed.ts";
import type { TogetherSetting } from "../../laboratory/experiments/together.ts";
import type { Watch } from "../../laboratory/watch.ts";
import { writePlot } from "../reports/plot.ts";
import { profileTable } from "../reports/profile-report.ts";
import { table } from "../reports/table.ts";
import { Command } from "../terminal/command.ts";
import { addDraftFlag, type DraftFlag } from "../terminal/drafts.ts";
import {
  addEngineFlags,
  type EngineFlags,
  engineOptions,
  integer,
  integers,
  ONE_TEXT,
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
import { benchDrafts } from "./bench-drafts.ts";
import { benchTexts } from "./bench-together.ts";

/** Texts that decode at the same time, at most. */
const MAX_TEXTS = 64;

interface Flags extends EngineFlags, DraftFlag {
  readonly file?: string;
  readonly at?: readonly number[];
  readonly tokens: number;
  readonly texts?: readonly number[];
  readonly rounds?: number;
  readonly json?: boolean;
  readonly plot?: string;
}

/** `dawnstream bench decode` */
export function benchDecodeCommand(): Command {
  const command = new Command("decode")
    .description("time decoding by position, with each kernel's share, or by number of texts")
    .example("dawnstream bench decode --at 128,512 --tokens 32")
    .option("--at <list>", "positions (default: 128, 512 and 2048, if they fit)", integers)
    .option("--tokens <n>", "tokens to time at each", integer, 32)
    .option(
      "--texts <list>",
      "numbers of texts that decode at the same time, at one position: --at, or 16",
      readTexts,
    )
    .option(
      "--rounds <n>",
      "with --texts or --draft, times that each is timed (default: 5)",
      integer,
    )
    .option("-f, --file <file>", "with --draft, the text or request that is answered");
  addDraftFlag(command, "; beside the same text without, by turns");
  const decided = {
    sequences: "--texts tells how many texts there are",
    cacheTokens: "the cache has room for all --texts",
    maxWaiting: "no text waits",
  };
  return addReportFlags(command, decided).action((flags: Flags) => {
    if (flags.tokens < 1) throw new UserError("Invalid --tokens: expected at least 1.");
    if (flags.draft !== undefined) return benchDrafts(flags, draftTiming(flags));
    if (flags.file !== undefined) throw new UserError("--file is of --draft: give both.");
    if (flags.texts) return benchTexts(flags, textsSetting(flags, flags.texts));
    if (flags.rounds !== undefined) {
      throw new UserError("--rounds are of --texts or --draft: give both.");
    }
    return bench("decode", flags, {
      more: moreThanPlace(flags.tokens),
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
    .option("--at <list>", "lengths (default: 32, 128 and 512, if they fit)", integers)
    .option("--rounds <n>", "times that each is computed (default: 5)", integer);
  return addReportFlags(command, ONE_TEXT).action((flags: Flags) => {
    const rounds = roundsOf(flags);
    return bench("prefill", flags, {
      more: 0,
      placesIn: (model) => promptPlaces(model, flags.at),
      measure: (engine, places, watch) => promptSpeeds(engine, places, rounds, watch),
    });
  });
}

function roundsOf({ rounds = 5 }: Flags): number {
  if (rounds >= 1) return rounds;
  throw new UserError("Invalid --rounds: expected at least 1.");
}

/** What is timed with drafts: one text, of which all tokens count. */
function draftTiming(flags: Flags) {
  const { texts, at, plot, tokens } = flags;
  const other = Object.entries({ texts, at, plot }).find(([, value]) => value !== undefined);
  if (other) throw new UserError(`--${other[0]} does nothing beside --draft: leave one out.`);
  return { tokens, rounds: roundsOf(flags) };
}

function textsSetting(flags: Flags, texts: readonly number[]): TogetherSetting {
  const { at: places = [16], tokens } = flags;
  const [at = 0, ...others] = places;
  if (others.length > 0) throw new UserError("--texts are timed at one position: give one --at.");
  if (at < 2) throw new UserError("Invalid --at: expected at least 2.");
  return { texts, at, tokens, rounds: roundsOf(flags) };
}

function readTexts(text: string): number[] {
  const texts = text.split(",").map(integer);
  if (texts.every((n) => n >= 1 && n <= MAX_TEXTS)) return texts;
  throw new InvalidArgumentError(`Expected numbers of texts from 1 to ${MAX_TEXTS}.`);
}

function addReportFlags(command: Command, decided: Parameters<typeof addEngineFlags>[1]): Command {
  return addEngineFlags(command, {
    ...decided,
    profile: "the table has the share of each kernel",
  })
    .option("--json", "print one object")
    .option("--plot <file>", "draw time a token: .svg or .png", pictureFile);
}

interface Bench {
  /** Tokens beyond a place that are computed there. */
  readonly more: number;
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
  { more, placesIn, measure }: Bench,
): Promise<void> {
  const signal = interruptSignal();
  let places: readonly number[] = [];
  const check = (model: OpenedModel) => {
    places = placesIn(model);
    if (places.some((at) => at < 2)) throw new UserError("Invalid --at: expected at least 2.");
  };
  const longest = Math.max(0, ...(flags.at ?? [])) + more;
  const options = ({ config }: ModelFile) => withContext(config, engineOptions(flags), longest);
  await withEngine(flags.model, options, check, async (engine) => {
    const rows = await withProgress(what, "places", (onProgress) =>
      measure(engine, places, { onProgress, signal }),
    );
    await report(what, engine, rows, flags);
    if (signal.aborted) process.exitCode = 130; // as a shell reports Ctrl-C
  });
}

/**
 * Options with a context for a text of this length, if the model was trained for as much and no
 * other is asked for.
 */
function withContext(config: ModelConfig, given: EngineOptions, tokens: number): EngineOptions {
  const { context } = resolveSetting(config, given);
  if (given.context !== undefined) return given;
  return { ...given, context: Math.max(context, Math.min(config.trainedContext, tokens)) };
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
