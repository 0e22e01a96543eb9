// What happens to a stream that outgrows the model? StreamingLLM's figure on a model and a text of
// one's own: perplexity, time a token and bytes of cache along the stream, under several policies.
// Xiao et al. 2024, arXiv:2309.17453

import { parseAttention } from "../../context/positions/attention-policy.ts";
import { openTokenizer } from "../../engine/model/open.ts";
import type { EngineOptions } from "../../engine/options.ts";
import { UserError } from "../../errors.ts";
import {
  compareStreams,
  type StreamMode,
  type StreamSetting,
} from "../../laboratory/experiments/stream.ts";
import { invalid } from "../../option-reader.ts";
import { openFile } from "../../platform/file.ts";
import { reportStream } from "../reports/stream-report.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  type EngineFlags,
  engineOptions,
  integer,
  integers,
  ONE_TEXT,
  pictureFile,
} from "../terminal/flags.ts";
import { givenFile } from "../terminal/input.ts";
import { interruptSignal, loadEngine, modelPath, withProgress } from "../terminal/terminal.ts";

interface Flags extends EngineFlags, StreamSetting {
  readonly file?: string;
  readonly policies?: readonly StreamMode[];
  readonly sinks?: readonly number[];
  readonly caches?: readonly number[];
  readonly json?: boolean;
  readonly plot?: string;
}

/** `dawnstream stream` */
export function streamCommand(): Command {
  const command = new Command("stream")
    .description(
      "feed a long text token by token under several policies: perplexity, time and bytes along the way",
    )
    .example("dawnstream stream book.txt --policies full,sinks:4+252 --tokens 1000")
    .argument("[file]", "UTF-8 text; - is stdin, as is a pipe without it")
    .option("-f, --file <file>", "the same")
    .option(
      "--policies <list>",
      "full, window:W, sinks:S+W, or recompute:W (BOS and the last W - 1 tokens from scratch) " +
        "(default: window:256,sinks:4+252)",
      readModes,
    )
    .option("--sinks <list>", "ablation: numbers of sinks, such as 0,1,2,4,8", integers)
    .option("--caches <list>", "ablation: sinks and window together, such as 64,128,256", integers)
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
  return addEngineFlags(command, {
    ...ONE_TEXT,
    attention: "--policies names the attentions that are compared",
    whenFull: "the policy sinks:K+W is what slide:K does",
  }).action(run);
}

async function run(file: string | undefined, flags: Flags): Promise<void> {
  if (flags.parts < 1 || flags.every < 1 || flags.tokens < 2 * flags.parts) {
    throw new UserError(
      "Expected --parts and --every of at least 1, and at least 2 tokens for each part.",
    );
  }
  const modes = modesOf(flags);
  const { name, text } = await givenFile(file, flags.file);
  const signal = interruptSignal();
  const tokenizer = await openTokenizer(await modelPath(flags.model), openFile);
  const ids = tokenizer.encode(text).slice(0, flags.tokens + 1);
  if (ids.length <= flags.tokens) {
    throw new UserError(
      `${name} has ${ids.length} tokens: a stream of ${flags.tokens} needs more.`,
    );
  }
  const open = (needed: EngineOptions) => {
    const context = flags.context ?? needed.context;
    const options = { ...engineOptions(flags), ...needed, context };
    return loadEngine(flags.model, options, { quiet: true });
  };
  const runs = await withProgress("streaming", "tokens", (onProgress) =>
    compareStreams(open, ids, modes, flags, { onProgress, signal }),
  );
  const ablation = flags.sinks !== undefined || flags.caches !== undefined;
  await reportStream(runs, { ...flags, file: name, ablation });
  if (signal.aborted) process.exitCode = 130;
}

/** What is compared: policies by name, or sinks and cache sizes in all combinations. */
function modesOf({ policies, sinks, caches }: Flags): readonly StreamMode[] {
  if (!sinks && !caches) return policies ?? readModes("window:256,sinks:4+252");
  if (policies) throw new UserError("Give either --policies, or --sinks and --caches.");
  return (caches ?? [256]).flatMap((cache) =>
    (sinks ?? [4]).map((count) => {
      if (count >= cache) {
        throw new UserError(`${count} sinks leave no window in a cache of ${cache} tokens.`);
      }
      const name = `sinks:${count}+${cache - count}`;
      return { name, attention: parseAttention(name) };
    }),
  );
}

function readModes(text: string): StreamMode[] {
  return text.split(",").map((name) => {
    const [, width] = /^recompute:(\d+)$/.exec(name) ?? [];
    if (width !== undefined && Number(width) >= 2) {
      return { name, attention: { kind: "full" }, recompute: Number(width) };
    }
    if (/^(full|window|sinks)\b/.test(name)) return { name, attention: parseAttention(name) };
    throw invalid("policy", name, "full, window:W, sinks:S+W or recompute:W with W >= 2", [
      ...["full", "window", "sinks", "recompute"],
    ]);
  });
}
