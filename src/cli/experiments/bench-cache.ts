// What does the cache buy, and does it change the result? The same prompt and the same tokens are decoded with it,
// without it, and under windows; each step is timed, and the logits of every step are compared.

import { Option } from "commander";
import { pageBytes } from "../../context/cache/kv-cache.ts";
import type { AttentionPolicy } from "../../context/positions/attention-policy.ts";
import { attentionPolicy } from "../../context/positions/attention-policy.ts";
import type { Engine } from "../../engine/engine.ts";
import { LAST_LOGITS } from "../../engine/run/step.ts";
import { prepareGeneration } from "../../engine/tasks/generation-request.ts";
import { prefill } from "../../engine/tasks/prefill.ts";
import { UserError } from "../../errors.ts";
import { type Growth, growth } from "../../laboratory/experiments/growth.ts";
import { median, nmse } from "../../numbers.ts";
import { writePlot } from "../reports/plot.ts";
import { table } from "../reports/table.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  type EngineFlags,
  engineOptions,
  integer,
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

/** One way of decoding the same tokens. */
interface Mode {
  readonly name: string;
  readonly policy: AttentionPolicy;
  readonly cached: boolean;
}

interface Run extends Mode {
  /** Milliseconds and bytes of cache held, by position. */
  readonly ms: readonly number[];
  readonly bytes: readonly number[];
  readonly logits: readonly Float32Array[];
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
    attention: "full attention and --policies are compared",
    whenFull: "the texts end within the context",
  }).action(async (flags: Flags) => {
    if (flags.tokens < 8)
      throw new UserError(`Invalid --tokens ${flags.tokens}: expected at least 8.`);
    const options = { maxTokens: flags.tokens, temperature: 0, ignoreEos: true };
    await withEngine(
      flags.model,
      engineOptions(flags),
      (model) => prepareGeneration(model, flags.prompt, options),
      async (engine) => {
        const { tokens } = await engine.complete(flags.prompt, options); // warms up, too
        const prompt = engine.tokenize(flags.prompt);
        const full = attentionPolicy({ kind: "full" });
        const modes = [full, ...flags.policies].flatMap((policy) => [
          { name: `${policy.name}, cached`, policy, cached: true },
          { name: `${policy.name}, recomputed`, policy, cached: false },
        ]);
        const runs: Run[] = [];
        for (const mode of modes) runs.push(await decode(engine, prompt, tokens, mode));
        await report(engine, prompt.length, runs, flags);
      },
    );
  });
}

/** Feeds given tokens one at a time, with the cache or with everything recomputed. */
async function decode(
  engine: Engine,
  prompt: readonly number[],
  tokens: readonly number[],
  mode: Mode,
): Promise<Run> {
  const { cache } = engine.setting;
  const bytesOfPage = engine.config.layers * pageBytes(cache.shape);
  const sequence = engine.sequence(mode.policy);
  const run = { ms: [] as number[], bytes: [] as number[], logits: [] as Float32Array[] };
  const ids = [...prompt];
  await prefill(engine, sequence, ids, LAST_LOGITS);
  for (const token of tokens) {
    ids.push(token);
    if (!mode.cached) sequence.clear();
    const began = performance.now();
    run.logits.push(await prefill(engine, sequence, mode.cached ? [token] : ids, LAST_LOGITS));
    run.ms.push(performance.now() - began);
    run.bytes.push(mode.cached ? sequence.entries.length * bytesOfPage : 0);
  }
  sequence.clear();
  return { ...mode, ...run };
}

interface Row {
  readonly mode: string;
  readonly tokensPerSecond: number;
  readonly msFirst: number;
  readonly msLast: number;
  readonly cacheBytes: number;
  readonly growth: Growth;
  /** Normalised error of the logits against the same policy recomputed; none for the recomputed ones themselves. */
  readonly nmse: number | null;
}

/** Rows, one behind the other. */
function flat(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}

function summarise(run: Run, runs: readonly Run[], first: number): Row {
  const positions = run.ms.map((_, i) => first + i);
  const ends = Math.max(1, Math.floor(run.ms.length / 10));
  const oracle = runs.find(({ policy, cached }) => policy === run.policy && !cached)!;
  return {
    mode: run.name,
    tokensPerSecond: 1000 / median(run.ms),
    msFirst: median(run.ms.slice(0, ends)),
    msLast: median(run.ms.slice(-ends)),
    cacheBytes: Math.max(...run.bytes),
    growth: growth(positions, run.ms),
    nmse: run.cached ? nmse(flat(run.logits), flat(oracle.logits)) : null,
  };
}

async function report(
  engine: Engine,
  promptTokens: number,
  runs: readonly Run[],
  flags: Flags,
): Promise<void> {
  const rows = runs.map((run) => summarise(run, runs, promptTokens));
  if (flags.json) {
    const byPosition = runs.map(({ name, ms, bytes }) => ({ mode: name, ms, bytes }));
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
        rows.map((row) => [
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
    const points = (pick: (run: Run) => readonly number[]) =>
      runs.flatMap((run) =>
        pick(run).map((y, i) => ({ x: promptTokens + i, y, series: run.name })),
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
