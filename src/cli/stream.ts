// What happens to a stream that outgrows the model?  StreamingLLM's figure on a model and a text of one's own: perplexity,
// time a token and bytes of cache along the stream, under several policies.               Xiao et al. 2024, arXiv:2309.17453

import { Command, InvalidArgumentError } from "commander";
import { type AttentionOptions, parseAttention } from "../context/attention-policy.ts";
import { pageBytes } from "../context/cache/kv-cache.ts";
import { append } from "../engine/append.ts";
import type { Engine } from "../engine/engine.ts";
import { logSumExp } from "../engine/sampler/softmax.ts";
import { perplexity } from "../engine/score.ts";
import { UserError } from "../kernels/errors.ts";
import { addEngineFlags, type EngineFlags, engineOptions, integer, pictureFile } from "./flags.ts";
import { median } from "./growth.ts";
import { readText } from "./input.ts";
import { writePlot } from "./plot.ts";
import { table } from "./table.ts";
import { interruptSignal, loadEngine, size, write, writeJson } from "./terminal.ts";

/** A policy of the cache, or a sliding window that is recomputed from scratch for every token. */
interface StreamMode {
  readonly name: string;
  readonly attention: AttentionOptions;
  /** W of recompute:W */
  readonly recompute?: number;
}

interface Flags extends EngineFlags {
  readonly file: string;
  readonly policies: readonly StreamMode[];
  readonly tokens: number;
  readonly parts: number;
  readonly every: number;
  readonly json?: boolean;
  readonly plot?: string;
}

/** One stretch of the stream. */
interface Part {
  /** Position after the stretch. */
  readonly position: number;
  readonly perplexity: number;
  readonly msPerToken: number;
  readonly cacheBytes: number;
}

interface Run {
  readonly policy: string;
  readonly perplexity: number;
  readonly parts: readonly Part[];
}

/** `dawnstream stream` */
export function streamCommand(): Command {
  const command = new Command("stream")
    .description(
      "feed a long text token by token under several policies: perplexity, time and bytes along the way",
    )
    .requiredOption("--file <file>", "UTF-8 text")
    .option(
      "--policies <list>",
      "full, window:W, sinks:S+W, or recompute:W (BOS and the last W - 1 tokens from scratch)",
      readModes,
      readModes("window:256,sinks:4+252"),
    )
    .option("--tokens <n>", "length of the stream", integer, 2000)
    .option("--parts <n>", "stretches that figures are given for", integer, 20)
    .option(
      "--every <n>",
      "under recompute, tokens from one that is predicted to the next",
      integer,
      50,
    )
    .option("--json", "print one object")
    .option("--plot <file>", "draw the curves: .svg or .png", pictureFile);
  return addEngineFlags(command).action(run);
}

async function run(flags: Flags): Promise<void> {
  if (flags.parts < 1 || flags.every < 1 || flags.tokens < 2 * flags.parts) {
    throw new UserError(
      "Expected --parts and --every of at least 1, and at least 2 tokens for each part.",
    );
  }
  const text = await readText(flags.file);
  const signal = interruptSignal();
  const runs: Run[] = [];
  for (const mode of flags.policies) {
    // Full attention needs a context as long as the stream; the others never hold more than they see.
    const context =
      flags.context ??
      (mode.attention.kind === "full" ? (mode.recompute ?? flags.tokens) : undefined);
    const options = { ...engineOptions(flags), attention: mode.attention, context };
    const engine = await loadEngine(flags.model, options, { quiet: true });
    try {
      const ids = engine.tokenize(text).slice(0, flags.tokens + 1);
      if (ids.length <= flags.tokens) {
        throw new UserError(
          `${flags.file} has ${ids.length} tokens: a stream of ${flags.tokens} needs more.`,
        );
      }
      runs.push(await stream(engine, mode, ids, flags, signal));
    } finally {
      await engine.close();
    }
    if (signal.aborted) break;
  }
  await report(runs, flags);
  if (signal.aborted) process.exitCode = 130;
}

async function stream(
  engine: Engine,
  { name, recompute }: StreamMode,
  ids: readonly number[],
  { tokens, parts: count, every }: Flags,
  signal: AbortSignal,
): Promise<Run> {
  const { cache } = engine.setting;
  const bytesOfPage = cache.layers * pageBytes(cache.shape);
  const sequence = engine.sequence();
  const parts: Part[] = [];
  const all: number[] = [];
  let nll: number[] = [];
  let ms: number[] = [];
  for (let i = 0; i < tokens && !signal.aborted; i++) {
    const skipped = recompute !== undefined && i % every !== 0;
    if (!skipped) {
      const began = performance.now();
      let pending: readonly number[] = [ids[i]!];
      if (recompute !== undefined) {
        sequence.clear();
        const rest = ids.slice(Math.max(1, i + 2 - recompute), i + 1);
        pending = i === 0 ? [ids[0]!] : [ids[0]!, ...rest];
      }
      const logits = await append(engine, sequence, pending);
      ms.push(performance.now() - began);
      nll.push(logSumExp(logits) - logits[ids[i + 1]!]!);
    }
    if (Math.floor(((i + 1) * count) / tokens) > parts.length && nll.length > 0) {
      const cacheBytes = sequence.entries.length * bytesOfPage;
      parts.push({
        position: i + 1,
        perplexity: perplexity(nll),
        msPerToken: median(ms),
        cacheBytes,
      });
      all.push(...nll);
      [nll, ms] = [[], []];
    }
  }
  sequence.clear();
  return { policy: name, perplexity: perplexity(all), parts };
}

async function report(runs: readonly Run[], flags: Flags): Promise<void> {
  if (flags.json) await writeJson({ tokens: flags.tokens, runs });
  else {
    const quarter = (run: Run, q: number) => {
      const part = run.parts.slice(
        Math.floor((q * run.parts.length) / 4),
        Math.ceil(((q + 1) * run.parts.length) / 4),
      );
      return part.length > 0 ? median(part.map((p) => p.perplexity)).toFixed(3) : "-";
    };
    const head = ["policy", "1st quarter", "2nd", "3rd", "4th", "ms first", "ms last", "cache"];
    await write(
      table(
        head,
        runs.map((run) => [
          run.policy,
          ...[0, 1, 2, 3].map((q) => quarter(run, q)),
          run.parts[0]?.msPerToken.toFixed(1) ?? "-",
          run.parts.at(-1)?.msPerToken.toFixed(1) ?? "-",
          size(Math.max(0, ...run.parts.map((part) => part.cacheBytes))),
        ]),
      ),
    );
    console.error("[perplexity: the median over the stretches of each quarter]");
  }
  if (flags.plot === undefined) return;
  const panel = (y: string, pick: (part: Part) => number, log: boolean) => ({
    x: "position in the stream (tokens)",
    y,
    log,
    points: runs.flatMap(({ policy, parts }) =>
      parts.map((part) => ({ x: part.position, y: pick(part), series: policy })),
    ),
  });
  await writePlot(flags.plot, {
    title: "What happens to a stream that outgrows the model?",
    subtitle: `${flags.model.replace(/^.*\//, "")} on ${flags.file.replace(/^.*\//, "")}`,
    panels: [
      panel("perplexity", (part) => part.perplexity, true),
      panel("time a token (ms)", (part) => part.msPerToken, true),
      panel("cache held (kB)", (part) => part.cacheBytes / 1000, false),
    ],
  });
}

function readModes(text: string): StreamMode[] {
  return text.split(",").map((name) => {
    const [, width] = /^recompute:(\d+)$/.exec(name) ?? [];
    if (width !== undefined && Number(width) >= 2) {
      return { name, attention: { kind: "full" }, recompute: Number(width) };
    }
    try {
      return { name, attention: parseAttention(name) };
    } catch {
      throw new InvalidArgumentError(
        `"${name}" is none of full, window:W, sinks:S+W, recompute:W.`,
      );
    }
  });
}
