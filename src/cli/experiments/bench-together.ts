// What do texts gain if they run at the same time: some that decode, or a mixture of requests? Each
// text is compared with the same alone.

import { InvalidArgumentError, Option } from "commander";
import type { Engine } from "../../engine/engine.ts";
import type { ModelFile } from "../../engine/model/open.ts";
import { resolveSetting } from "../../engine/options.ts";
import {
  checkMixture,
  compareServing,
  longestOf,
  type Mixture,
  type Range,
  type Serving,
  type ServingReport,
} from "../../laboratory/experiments/serving.ts";
import {
  checkTogether,
  type Difference,
  NEAR_TIE,
  roomFor,
  roomOf,
  type TogetherSetting,
  type TogetherSpeed,
  togetherSpeeds,
} from "../../laboratory/experiments/together.ts";
import { whole } from "../../option-reader.ts";
import { writePlot } from "../reports/plot.ts";
import { table } from "../reports/table.ts";
import { Command } from "../terminal/command.ts";
import { addEngineFlags, type EngineFlags, engineOptions, integer } from "../terminal/flags.ts";
import {
  interruptSignal,
  loadInWords,
  note,
  withEngine,
  withProgress,
  write,
  writeJson,
} from "../terminal/terminal.ts";

interface TextsFlags extends EngineFlags {
  readonly json?: boolean;
  readonly plot?: string;
}

/** `dawnstream bench decode --texts` */
export async function benchTexts(flags: TextsFlags, setting: TogetherSetting): Promise<void> {
  const signal = interruptSignal();
  const options = (model: ModelFile) => ({
    ...engineOptions(flags),
    ...roomFor(setting, pageSizeOf(model, flags)),
    prefixes: false, // every round computes its prompts anew
  });
  await withEngine(
    flags.model,
    options,
    (model) => checkTogether(model, setting),
    async (engine) => {
      const rows = await withProgress("decode", "times", (onProgress) =>
        togetherSpeeds(engine, setting, { onProgress, signal }),
      );
      await reportTexts(engine, rows, setting, flags);
      if (signal.aborted) process.exitCode = 130; // as a shell reports Ctrl-C
    },
  );
}

async function reportTexts(
  engine: Engine,
  rows: readonly TogetherSpeed[],
  { at, tokens, rounds }: TogetherSetting,
  flags: TextsFlags,
): Promise<void> {
  const { name } = engine.config;
  const { adapter, ms: loadMs, stepBytes } = engine.loaded;
  if (flags.json) {
    const setting = { what: "decode", model: name, adapter, loadMs, stepBytes, at, tokens, rounds };
    await writeJson({ ...setting, rows });
  } else {
    const head = ["texts", "tok/s", "of one", "ms a step", "texts that differ"];
    await write(
      table(
        head,
        rows.map((row) => [
          row.texts,
          row.tokensPerSecond.toFixed(1),
          row.ratio.toFixed(2),
          ((1000 * row.texts) / row.tokensPerSecond).toFixed(2),
          `${row.differences.length} of ${row.texts * row.samples.length}`,
        ]),
      ),
    );
  }
  noteDifferences(rows.flatMap(({ differences }) => differences));
  note(`[${loadInWords(engine)} | ${adapter}]`);
  if (flags.plot === undefined) return;
  await writePlot(flags.plot, {
    title: "What do texts gain that decode at the same time?",
    subtitle: `${name}, ${adapter.split(",")[0]}`,
    panels: [
      {
        x: "texts",
        y: "tokens a second, all together",
        points: rows.map((row) => ({ x: row.texts, y: row.tokensPerSecond, series: "measured" })),
      },
    ],
  });
}

/** Says which texts are not the same as alone; an error if their two best logits are not close. */
function noteDifferences(differences: readonly Difference[]): void {
  for (const { text, at, gap } of differences) {
    const what = `text ${text} differs from the same alone at token ${at}, where the two best logits are ${gap.toExponential(1)} apart`;
    if (gap < NEAR_TIE) note(`[near tie: ${what}]`);
    else {
      note(`error: ${what}.`);
      process.exitCode = 1;
    }
  }
}

interface ServeFlags extends EngineFlags, Mixture {
  readonly json?: boolean;
}

/** `dawnstream bench serve` */
export function benchServeCommand(): Command {
  const command = new Command("serve")
    .description("time a mixture of requests, at the same time and one after the other")
    .example("dawnstream bench serve --requests 32 --sequences 16")
    .option("--requests <n>", "how many", integer, 32)
    .addOption(rangeOption("--prompts <a..b>", "tokens of a prompt", "8..64"))
    .addOption(rangeOption("--answers <a..b>", "tokens of an answer", "64..256"))
    .option("-s, --seed <n>", "the same seed gives the same requests", integer, 1)
    .option("--json", "print one object");
  return addEngineFlags(command, { maxWaiting: "all --requests may wait" }).action(serve);
}

async function serve(flags: ServeFlags): Promise<void> {
  const mixture: Mixture = {
    requests: whole(1, 2 ** 16)(flags.requests, "--requests"),
    prompts: flags.prompts,
    answers: flags.answers,
    seed: whole(0)(flags.seed, "--seed"),
  };
  const signal = interruptSignal();
  const options = (model: ModelFile) => {
    const given = engineOptions(flags);
    const { sequences } = resolveSetting(model.config, given).requests;
    const room = roomOf(sequences, longestOf(mixture), pageSizeOf(model, flags));
    const { cacheTokens = room.cacheTokens } = given;
    return { ...given, cacheTokens, maxWaiting: mixture.requests, prefixes: false };
  };
  await withEngine(
    flags.model,
    options,
    (model) => checkMixture(model, mixture),
    async (engine) => {
      const report = await withProgress("serving", "requests", (onProgress) =>
        compareServing(engine, mixture, { onProgress, signal }),
      );
      if (report) await reportServing(engine, report, mixture, flags);
      else process.exitCode = 130; // as a shell reports Ctrl-C
    },
  );
}

async function reportServing(
  engine: Engine,
  report: ServingReport,
  mixture: Mixture,
  flags: ServeFlags,
): Promise<void> {
  const { adapter, ms: loadMs } = engine.loaded;
  const { sequences } = engine.setting.requests;
  if (flags.json) {
    const { name: model } = engine.config;
    await writeJson({ what: "serve", model, adapter, loadMs, ...mixture, sequences, ...report });
  } else {
    const head = ["", "seconds", "tok/s", "first ms", "95 %", "between ms", "95 %"];
    const row = (what: string, { ms, tokensPerSecond, first, between }: Serving) => [
      what,
      (ms / 1000).toFixed(2),
      tokensPerSecond.toFixed(1),
      first.median.toFixed(0),
      first.most.toFixed(0),
      between.median.toFixed(1),
      between.most.toFixed(1),
    ];
    const { together, oneByOne, promptTokens, answerTokens, ratio, differences } = report;
    const rows = [
      row("one after the other", oneByOne),
      row(`${Math.min(sequences, mixture.requests)} at a time`, together),
    ];
    await write(table(head, rows));
    await write(
      `${mixture.requests} requests, ${promptTokens} tokens of prompts and ${answerTokens} of answers: ` +
        `${ratio.toFixed(2)} times sooner; ${differences.length} texts differ from the same alone\n`,
    );
  }
  noteDifferences(report.differences);
  note(`[${loadInWords(engine)} | ${adapter}]`);
}

function pageSizeOf({ config }: ModelFile, flags: EngineFlags): number {
  return resolveSetting(config, engineOptions(flags)).cache.shape.pageSize;
}

function rangeOption(flags: string, description: string, usual: string): Option {
  return new Option(flags, description).argParser(readRange).default(readRange(usual), usual);
}

function readRange(text: string): Range {
  const [, least, most] = /^(\d+)\.\.(\d+)$/.exec(text)?.map(Number) ?? [];
  if (least === undefined || most === undefined || least < 1 || most < least) {
    throw new InvalidArgumentError("Expected the least and the most, such as 8..64.");
  }
  return { least, most };
}
