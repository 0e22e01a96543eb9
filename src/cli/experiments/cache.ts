// Which pages of the cache texts share, as a drawing.

import { UserError } from "../../errors.ts";
import { type SharedPages, sharedPages } from "../../laboratory/experiments/shared-pages.ts";
import { Command } from "../terminal/command.ts";
import { addEngineFlags, type EngineFlags, engineOptions } from "../terminal/flags.ts";
import { printableLine } from "../terminal/printable.ts";
import {
  interruptSignal,
  withEngine,
  withProgress,
  write,
  writeJson,
} from "../terminal/terminal.ts";

interface Flags extends EngineFlags {
  readonly json?: boolean;
}

/** `dawnstream cache` */
export function cacheCommand(): Command {
  const command = new Command("cache")
    .description("show which pages of the cache texts share")
    .example('dawnstream cache "One day a girl" "One day a boy" --page 2')
    .argument("<texts...>", "texts, computed one after the other; each keeps its pages")
    .option("--json", "print one object");
  return addEngineFlags(command, {
    sequences: "the texts are computed one after the other",
    maxWaiting: "no text waits",
  }).action(async (texts: readonly string[], flags: Flags) => {
    let ids: number[][] = [];
    await withEngine(
      flags.model,
      engineOptions(flags),
      ({ tokenizer }) => {
        ids = texts.map((text) => tokenizer.encode(text));
        if (ids.some(({ length }) => length === 0)) throw new UserError("A text is empty.");
      },
      async (engine) => {
        const signal = interruptSignal();
        const found = await withProgress("computing", "texts", (onProgress) =>
          sharedPages(engine, ids, { onProgress, signal }),
        );
        await (flags.json ? writeJson(found) : write(drawing(found, texts)));
        if (signal.aborted) process.exitCode = 130; // as a shell reports Ctrl-C
      },
    );
  });
}

/** Each text a row, each of its pages a column: the number of the page in the cache. */
function drawing(
  { pageSize, groups, texts, used, kept, size }: SharedPages,
  given: readonly string[],
): string {
  const holders = new Map<number, number>();
  for (const page of texts.flatMap(({ pages }) => pages)) {
    if (page !== undefined) holders.set(page, (holders.get(page) ?? 0) + 1);
  }
  const ofGroup = groups > 1 ? `, in the first of ${groups} groups of layers` : "";
  const cell = (page: number | undefined) => {
    if (page === undefined) return "-";
    return holders.get(page)! > 1 ? `[${page}]` : `${page} `;
  };
  const columns = Math.max(0, ...texts.map(({ pages }) => pages.length));
  const heads = Array.from({ length: columns }, (_, i) => `${i * pageSize} `);
  const widest = Math.max(
    ...[...heads, ...texts.flatMap(({ pages }) => pages.map(cell))].map((c) => c.length),
  );
  const row = (name: string, cells: readonly string[], end = "") =>
    `${name.padEnd(8)}${cells.map((each) => each.padStart(widest + 1)).join("")}${end}`.trimEnd();
  const lines = texts.map(({ tokens, found, ms, pages }, i) => {
    const rest = " ".repeat((columns - pages.length) * (widest + 1));
    const told = `${tokens} tokens, ${found} found, ${ms.toFixed(0)} ms`;
    return row(`text ${i + 1}`, pages.map(cell), `${rest}   ${told}: ${shortened(given[i]!)}`);
  });
  return [
    `Pages of ${pageSize} tokens by the position that they begin at${ofGroup}; [n] is held by several texts.`,
    row("", heads),
    ...lines,
    `${used} of ${size} pages are in use; when the texts end, ${kept} stay to be found by others.`,
    "",
  ].join("\n");
}

function shortened(text: string): string {
  const line = printableLine(text);
  return line.length > 30 ? `${line.slice(0, 29)}…` : line;
}
