// What do drafts gain? The same text with and without them, by turns.

import type { Engine } from "../../engine/engine.ts";
import { prepareGeneration } from "../../engine/generation/generation-request.ts";
import { UserError } from "../../errors.ts";
import { compareDrafts, type DraftReport } from "../../laboratory/experiments/drafts.ts";
import { table } from "../reports/table.ts";
import { type DraftFlag, draftToCheck, withDraft } from "../terminal/drafts.ts";
import { type EngineFlags, engineOptions } from "../terminal/flags.ts";
import { givenPrompt } from "../terminal/input.ts";
import {
  interruptSignal,
  loadInWords,
  note,
  withEngine,
  withProgress,
  write,
  writeJson,
} from "../terminal/terminal.ts";

interface DraftsFlags extends EngineFlags, DraftFlag {
  readonly file?: string;
  readonly json?: boolean;
}

/** What is timed of a text. */
interface Timing {
  readonly tokens: number;
  readonly rounds: number;
}

/** `dawnstream bench decode --draft` */
export async function benchDrafts(flags: DraftsFlags, timing: Timing): Promise<void> {
  if (flags.file === undefined) {
    throw new UserError("--draft needs a --file: its gain depends on the text that is continued.");
  }
  const request = await givenPrompt(undefined, flags.file);
  const signal = interruptSignal();
  await withEngine(
    flags.model,
    engineOptions(flags),
    (model) => {
      const options = { maxTokens: timing.tokens, draft: draftToCheck(flags) };
      prepareGeneration(model, request, options);
    },
    (engine) =>
      withDraft(flags, engine, async (draft) => {
        const setting = { ...timing, prompt: engine.promptFor(request), draft: draft! };
        const report = await withProgress("decode", "rounds", (onProgress) =>
          compareDrafts(engine, setting, { onProgress, signal }),
        );
        if (report) await reportDrafts(engine, report, flags);
        if (signal.aborted) process.exitCode = 130; // as a shell reports Ctrl-C
      }),
  );
}

async function reportDrafts(
  engine: Engine,
  report: DraftReport,
  { draft, json }: DraftsFlags,
): Promise<void> {
  const { adapter, ms: loadMs } = engine.loaded;
  if (json) {
    const { name: model } = engine.config;
    await writeJson({ what: "drafts", model, adapter, loadMs, draft, ...report });
  } else {
    const { tokens, draftTokens, acceptedTokens, ratio } = report;
    await write(
      table(
        ["", "tok/s", "drafted", "accepted"],
        [
          ["without drafts", report.without.tokensPerSecond.toFixed(1), "", ""],
          [`${draft}`, report.with.tokensPerSecond.toFixed(1), draftTokens, acceptedTokens],
        ],
      ),
    );
    await write(`${tokens} tokens, the same with drafts: ${ratio.toFixed(2)} times as fast\n`);
  }
  note(`[${loadInWords(engine)} | ${adapter}]`);
}
