// What fits? Exact bytes by context, how long a text a memory holds, and what attention costs by
// length: all of it counted from the header of a file, before anything is loaded.

import { InvalidArgumentError, Option } from "commander";
import { type AttentionPolicy, attentionPolicy } from "../../context/positions/attention-policy.ts";
import { type ModelFile, openModel } from "../../engine/model/open.ts";
import { KV_TYPES, type KvType } from "../../kernels/attention/kv-types.ts";
import { type ContextCost, contextCosts } from "../../laboratory/experiments/context-cost.ts";
import { byteSize } from "../../option-reader.ts";
import { nodePlatform } from "../../platform/node.ts";
import { writePlot } from "../reports/plot.ts";
import { table } from "../reports/table.ts";
import { Command } from "../terminal/command.ts";
import {
  addModelFlag,
  choice,
  givenModel,
  integer,
  integers,
  type ModelFlags,
  pictureFile,
  policies,
} from "../terminal/flags.ts";
import { modelPath, note, size, write, writeJson } from "../terminal/terminal.ts";

interface Flags extends ModelFlags {
  readonly context: readonly number[];
  readonly attention: readonly AttentionPolicy[];
  readonly kv: readonly KvType[];
  readonly memory?: number;
  readonly page?: number;
  readonly chunk?: number;
  readonly cacheTokens?: number;
  readonly json?: boolean;
  readonly plot?: string;
}

/** `dawnstream plan` */
export function planCommand(): Command {
  const command = new Command("plan")
    .description(
      "count exact memory and the cost of attention by context, from a file's header alone",
    )
    .example(
      "dawnstream plan model.gguf --context 2048,8192 --attention full,sinks:4+1020 --memory 2GiB",
    )
    .argument("[file]", "GGUF file (the same as --model)")
    .addOption(
      new Option("-c, --context <list>", "contexts to compare")
        .argParser(readContexts)
        .default([512, 2048, 8192], "512,2048,8192"),
    )
    .option("--attention <list>", "full, window:W, sinks:S+W (default: full)", policies)
    .addOption(
      new Option("--kv <list>", `types of the cache: ${KV_TYPES.join(", ")}`)
        .argParser(readKvTypes)
        .default(["f16"], "f16"),
    )
    .option("--memory <size>", "tell the largest context that fits, such as 8GiB", (text) =>
      byteSize(text, "size"),
    )
    .option("--page <n>", "tokens a page of the cache (default: 16)", integer)
    .option("--chunk <n>", "tokens of a prompt computed at a time (default: 256)", integer)
    .option(
      "--cache-tokens <n>",
      "tokens that the cache has room for, of all texts together (default: those of one)",
      integer,
    )
    .option("--json", "print one object")
    .option("--plot <file>", "draw memory and cost by context: .svg or .png", pictureFile);
  return addModelFlag(command).action(
    async (argument: string | undefined, flags: Flags, command: Command) => {
      const model = await openModel(
        await modelPath(givenModel(argument, command)),
        nodePlatform.openFile,
      );
      try {
        await report(model, flags);
      } finally {
        await model.file.close();
      }
    },
  );
}

async function report(model: ModelFile, flags: Flags): Promise<void> {
  const { config } = model;
  const { page: pageSize, chunk, cacheTokens, memory } = flags;
  const attentions = flags.attention ?? [attentionPolicy({ kind: "full" })];
  const ways = attentions.flatMap((policy) => flags.kv.map((kv) => ({ policy, kv })));
  const shared = { pageSize, chunk, cacheTokens };
  const { rows, fits } = contextCosts(model, ways, flags.context, shared, memory);
  if (flags.json) {
    // JSON has no Infinity.
    const largest = fits.map((fit) => ({
      ...fit,
      largestContext: fit.largestContext === Number.POSITIVE_INFINITY ? "any" : fit.largestContext,
    }));
    await writeJson({
      model: config.name,
      rows,
      memory,
      fits: memory ? largest : [],
    });
  } else {
    await write(tableOf(rows, memory));
    if (memory !== undefined) {
      for (const { attention, kv, largestContext } of fits) {
        await write(`${attention}, ${kv}: ${inWords(largestContext!)} in ${size(memory)}\n`);
      }
    }
    const [{ weightsByFormat }] = rows as [ContextCost];
    const formats = Object.entries(weightsByFormat).map(
      ([name, bytes]) => `${name} ${size(bytes)}`,
    );
    const { layers: L, kvHeads: G, headWidth: E } = config;
    note(
      `[weights: ${formats.join(", ")} | a token of the cache: 2 L G E = 2 x ${L} x ${G} x ${E} numbers]`,
    );
  }
  if (flags.plot !== undefined) await plot(flags.plot, config.name, rows);
}

function tableOf(rows: readonly ContextCost[], memory: number | undefined): string {
  const head = [
    "attention",
    "kv",
    "context",
    "weights",
    "cache",
    "scratch",
    "all",
    "Mop a token",
    "Gop a text",
  ];
  return table(
    memory === undefined ? head : [...head, "fits"],
    rows.map((row) => [
      row.attention,
      row.kv,
      row.context,
      size(row.weights),
      size(row.cache),
      size(row.scratch),
      size(row.total),
      (row.tokenOperations / 1e6).toFixed(1),
      (row.textOperations / 1e9).toFixed(1),
      ...(memory === undefined ? [] : [row.total <= memory ? "yes" : "no"]),
    ]),
  );
}

function inWords(context: number): string {
  if (context === 0) return "not even one token";
  return context === Number.POSITIVE_INFINITY
    ? "a text of any length"
    : `a context of ${context} tokens`;
}

function plot(path: string, model: string, rows: readonly ContextCost[]): Promise<void> {
  const panel = (y: string, pick: (row: ContextCost) => number) => ({
    x: "context (tokens)",
    y,
    logX: true,
    log: true,
    points: rows.map((row) => ({
      x: row.context,
      y: pick(row),
      series: `${row.attention}, ${row.kv}`,
    })),
  });
  return writePlot(path, {
    title: "What does a context cost?",
    subtitle: `${model}, counted from its header`,
    panels: [
      panel("memory (MB)", ({ total }) => total / 1e6),
      panel("attention of a token (Mop)", ({ tokenOperations }) => tokenOperations / 1e6),
      panel("attention of a text (Gop)", ({ textOperations }) => textOperations / 1e9),
    ],
  });
}

function readContexts(text: string): number[] {
  const contexts = integers(text);
  if (contexts.some((n) => n < 1)) throw new InvalidArgumentError("Expected at least 1 token.");
  return contexts;
}

function readKvTypes(text: string): KvType[] {
  return text.split(",").map(choice(KV_TYPES));
}
