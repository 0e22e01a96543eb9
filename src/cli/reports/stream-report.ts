// What streams under several policies found: tables, JSON, a plot.

import { attentionPolicy, parseAttention } from "../../context/positions/attention-policy.ts";
import type { StreamPart, StreamRun } from "../../laboratory/experiments/stream.ts";
import { median } from "../../numbers.ts";
import { note, size, write, writeJson } from "../terminal/terminal.ts";
import { type Panel, writePlot } from "./plot.ts";
import { table } from "./table.ts";

interface StreamReportFlags {
  readonly model: string;
  readonly file: string;
  readonly tokens: number;
  /** Whether the runs are sinks and cache sizes in all combinations. */
  readonly ablation: boolean;
  readonly json?: boolean;
  readonly plot?: string;
}

export async function reportStream(
  runs: readonly StreamRun[],
  flags: StreamReportFlags,
): Promise<void> {
  if (flags.json) await writeJson({ tokens: flags.tokens, runs });
  else {
    const quarter = (run: StreamRun, q: number) => {
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
    note("[perplexity: the median over the stretches of each quarter]");
    if (flags.ablation) await write(`\n${ablationTable(runs)}`);
  }
  if (flags.plot === undefined) return;
  await writePlot(flags.plot, {
    title: flags.ablation
      ? "How many sinks, how large a cache?"
      : "What happens to a stream that outgrows the model?",
    subtitle: `${flags.model.replace(/^.*\//, "")} on ${flags.file.replace(/^.*\//, "")}`,
    panels: flags.ablation ? [ablationPanel(runs)] : panels(runs),
  });
}

function panels(runs: readonly StreamRun[]): Panel[] {
  const panel = (y: string, pick: (part: StreamPart) => number, log: boolean) => ({
    x: "position in the stream (tokens)",
    y,
    log,
    points: runs.flatMap(({ policy, parts }) =>
      parts.map((part) => ({ x: part.position, y: pick(part), series: policy })),
    ),
  });
  return [
    panel("perplexity", (part) => part.perplexity, true),
    panel("time a token (ms)", (part) => part.msPerToken, true),
    panel("cache held (kB)", (part) => part.cacheBytes / 1000, false),
  ];
}

/** Perplexity once every cache is full, by number of sinks and size of the cache. */
function ablationTable(runs: readonly StreamRun[]): string {
  const cells = runs.map(ablationCell);
  const caches = [...new Set(cells.map(({ cache }) => cache))];
  const rows = [...new Set(cells.map(({ sinks }) => sinks))].map((sinks) => [
    sinks,
    ...caches.map((cache) => {
      const cell = cells.find((one) => one.sinks === sinks && one.cache === cache);
      return cell?.steadyPerplexity.toFixed(3) ?? "-";
    }),
  ]);
  return table(["sinks", ...caches.map((cache) => `cache of ${cache}`)], rows);
}

function ablationPanel(runs: readonly StreamRun[]): Panel {
  const points = runs.map(ablationCell).map(({ sinks, cache, steadyPerplexity }) => ({
    x: sinks,
    y: steadyPerplexity,
    series: `cache of ${cache} tokens`,
  }));
  return { x: "sinks (tokens)", y: "perplexity, once every cache is full", points, log: true };
}

function ablationCell({ policy, steadyPerplexity }: StreamRun) {
  const { sinks, window } = attentionPolicy(parseAttention(policy));
  return { sinks, cache: sinks + window, steadyPerplexity };
}
