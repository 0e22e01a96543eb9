// What does the cache buy, and does it change the result? The same prompt and the same tokens are
// decoded with it, without it, and under windows; each step is timed, and the logits of every step
// are compared.

import { Option } from "commander";
import type { AttentionPolicy } from "../../context/positions/attention-policy.ts";
import type { Engine } from "../../engine/engine.ts";
import { UserError } from "../../errors.ts";
import { type CacheRun, checkCaching, compareCaching } from "../../laboratory/experiments/cache.ts";
import { writePlot } from "../reports/plot.ts";
import { table } from "../reports/table.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  type EngineFlags,
  engineOptions,
  integer,
  ONE_TEXT,
  pictureFile,
  policies,
} from "../terminal/flags.ts";
import { size, withEngine, write, writeJson } from "../terminal/terminal.ts";

interface Flags extends EngineFlags {
  readonly prompt: string;
  readonly tokens: number;
  readonly policies: readonly AttentionPolicy[];
  readonly json?: boolean;
  readonly plot?: string;
}

const POLICIES = "window:64,sinks:4+60";

/** `dawnstream bench cache` */
export function benchCacheCommand(): Command {
  const command = new Command("cache")
    .description(
      "decode the same tokens with the cache, without it and under windows; compare times and logits",
    )
    .example("dawnstream bench cache --tokens 64 --policies window:64,sinks:4+60")
    .option("--prompt <text>", "the text to continue", "Once upon a time")
    .option("--tokens <n>", "tokens to decode", integer, 128)
    .addOption(
      new Option("--policies <list>", "attention policies besides full")
        .argParser(policies)
        .default(policies(POLICIES), POLICIES),
    )
    .option("--json", "print one object")
    .option("--plot <file>", "draw time and bytes by position: .svg or .png", pictureFile);
  return addEngineFlags(command, {
    ...ONE_TEXT,
    attention: "full attention and --policies are compared",
    whenFull: "the texts end within the context",
  }).action(async (flags: Flags) => {
    if (flags.tokens < 8)
      throw new UserError(`Invalid --tokens ${flags.tokens}: expected at least 8.`);
    await withEngine(
      flags.model,
      engineOptions(flags),
      (model) => checkCaching(model, flags.prompt, flags.tokens),
      async (engine) => {
        const { prompt, tokens, policies } = flags;
        const { promptTokens, runs } = await compareCaching(engine, prompt, tokens, policies);
        await report(engine, promptTokens, runs, flags);
      },
    );
  });
}

async function report(
  engine: Engine,
  promptTokens: number,
  runs: readonly CacheRun[],
  flags: Flags,
): Promise<void> {
  if (flags.json) {
    const rows = runs.map(({ ms, bytes, ...row }) => row);
    const byPosition = runs.map(({ mode, ms, bytes }) => ({ mode, ms, bytes }));
    await writeJson({
      adapter: engine.loaded.adapter,
      promptTokens,
      tokens: flags.tokens,
      rows,
      byPosition,
    });
  } else {
    const head = [
      "mode",
      "tok/s",
      "first ms",
      "last ms",
      "cache",
      "total grows",
      "logits differ (NMSE)",
    ];
    await write(
      table(
        head,
        runs.map((row) => [
          row.mode,
          row.tokensPerSecond.toFixed(1),
          row.msFirst.toFixed(1),
          row.msLast.toFixed(1),
          row.cacheBytes ? size(row.cacheBytes) : "-",
          `${row.growth.total} (r2 ${row.growth.r2.toFixed(2)})`,
          row.nmse === null ? "-" : row.nmse.toExponential(1),
        ]),
      ),
    );
  }
  if (flags.plot !== undefined) {
    const points = (pick: (run: CacheRun) => readonly number[]) =>
      runs.flatMap((run) =>
        pick(run).map((y, i) => ({ x: promptTokens + i, y, series: run.mode })),
      );
    await writePlot(flags.plot, {
      title: "What does a token cost, with the cache and without?",
      subtitle: `${engine.config.name}, ${engine.loaded.adapter.split(",")[0]}`,
      panels: [
        {
          x: "position (tokens)",
          y: "time a token (ms)",
          points: points(({ ms }) => ms),
          log: true,
        },
        {
          x: "position (tokens)",
          y: "cache held (kB)",
          points: points(({ bytes }) => bytes.map((b) => b / 1000)).filter(({ y }) => y > 0),
        },
      ],
    });
  }
}
