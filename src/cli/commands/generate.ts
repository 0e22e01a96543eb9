// `dawnstream generate`.
// In this room: a command a file, from its options to what it prints. Not in it: experiments and
// benchmarks (experiments/), options that commands share (terminal/), tables and plots (reports/).

import { existsSync } from "node:fs";
import type { Engine } from "../../engine/engine.ts";
import {
  type GenerateOptions,
  prepareGeneration,
} from "../../engine/generation/generation-request.ts";
import type { GenerationResult } from "../../engine/generation/generation-result.ts";
import type { ModelFile } from "../../engine/model/open.ts";
import { type EngineOptions, resolveSetting } from "../../engine/options.ts";
import { UserError } from "../../errors.ts";
import {
  draftsInWords,
  freeInWords,
  promptInWords,
  usageJson,
  warnOfFill,
} from "../reports/usage-report.ts";
import { Command } from "../terminal/command.ts";
import { addDraftFlag, type DraftFlag, draftToCheck, withDraft } from "../terminal/drafts.ts";
import {
  addEngineFlags,
  addSamplingFlags,
  collect,
  type EngineFlags,
  engineOptions,
  integer,
  number,
  outputFile,
  type SamplingFlags,
  samplingOptions,
} from "../terminal/flags.ts";
import { givenPrompt, givenPromptOrNone } from "../terminal/input.ts";
import {
  duration,
  interruptSignal,
  loadInWords,
  note,
  rate,
  withEngine,
  write,
  writeJson,
  writeText,
} from "../terminal/terminal.ts";

interface Flags extends EngineFlags, SamplingFlags, DraftFlag {
  readonly file?: string;
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
  readonly ignoreEos?: boolean;
  readonly logprobs?: number;
  readonly parseSpecial?: boolean;
  readonly cache: boolean;
  readonly answers?: number;
  readonly beams?: number;
  readonly lengthPenalty?: number;
  readonly session?: string;
  readonly json?: boolean;
}

/** `dawnstream generate`: continues a prompt, streaming. */
export function generateCommand(): Command {
  const command = new Command("generate")
    .description("continue a prompt")
    .example('dawnstream generate "Once upon a time" --max-tokens 200 --temperature 0.8 --seed 1')
    .argument("[prompt]", "the text to continue; - is stdin, as is a pipe without it")
    .option("-f, --file <file>", "take the prompt from a file, without its last line break")
    .option("-n, --max-tokens <n>", "the most tokens to generate (default: 256)", integer)
    .option("--stop <text>", "end before this text (repeatable)", collect)
    .option("--ignore-eos", "go on after end-of-generation tokens")
    .option("--logprobs <n>", "with --json: log-probabilities of the n likeliest tokens", integer)
    .option("--parse-special", "take special tokens spelled in the prompt as such")
    .option("--answers <n>", "give this many, with seeds that follow each other", integer)
    .option("--beams <n>", "beam search: the likeliest whole text that n beams find", integer)
    .option(
      "--length-penalty <x>",
      "of beams: 0 favours short texts, 1 compares means, more favours long ones (default: 1)",
      number,
    )
    .option(
      "--session <file>",
      "keep the text and its pages in this file: go on from it if it exists, and save it at the end",
      outputFile,
    )
    .option("--no-cache", "recompute the whole text for every token, for comparison")
    .option("--json", "print one object with text, ids, counts and timings");
  addSamplingFlags(addEngineFlags(addDraftFlag(command)));
  return command.action(async (argument: string | undefined, flags: Flags) => {
    const { session } = flags;
    const goesOn = session !== undefined && existsSync(session);
    const prompt = await (goesOn ? givenPromptOrNone : givenPrompt)(argument, flags.file);
    const signal = interruptSignal();
    const { maxTokens, stop, ignoreEos, logprobs, parseSpecial, cache, answers } = flags;
    const { beams, lengthPenalty } = flags;
    if (logprobs !== undefined && !flags.json) {
      throw new UserError("--logprobs is printed by --json: give both, or neither.");
    }
    const own = { maxTokens, stop, ignoreEos, logprobs, parseSpecial, cache, answers, signal };
    const options = { ...samplingOptions(flags), ...own, beams, lengthPenalty };
    if (session !== undefined) checkSession(flags);
    await withEngine(
      flags.model,
      (model) => ({ ...engineOptions(flags), ...roomForAnswers(model, prompt, flags) }),
      (model) => {
        const draft = draftToCheck(flags);
        if (!goesOn) return prepareGeneration(model, prompt, { ...options, draft });
        // The text is in the file: whether it fits is known when that has been read.
        return prepareGeneration(model, [0], { ...options, draft, maxTokens: 1 });
      },
      (engine) =>
        withDraft(flags, engine, (draft) => {
          const asked = { options: { ...options, draft }, json: flags.json ?? false };
          if (session === undefined) return generate(engine, prompt, asked);
          return generateInSession(engine, prompt, { ...asked, session, goesOn });
        }),
    );
  });
}

/** Room in the cache for all answers, or beams, at the same time: they do not fit that of one context. */
export function roomForAnswers(
  { config, tokenizer }: ModelFile,
  prompt: string,
  flags: Pick<Flags, "answers" | "beams" | "maxTokens"> & EngineFlags,
): Pick<EngineOptions, "cacheTokens"> {
  const { maxTokens } = flags;
  const texts = flags.beams ?? flags.answers ?? 1;
  if (texts <= 1 || !Number.isInteger(texts) || flags.cacheTokens !== undefined) return {};
  const { context, cache } = resolveSetting(config, engineOptions(flags));
  const promptTokens = tokenizer.encode(prompt).length;
  const most = maxTokens === undefined ? context : promptTokens + maxTokens;
  const page = cache.shape.pageSize; // a text may have one that is not full
  return { cacheTokens: texts * (Math.min(context, most) + page) + promptTokens + page };
}

/** Throws a `UserError` for flags that a session cannot be kept with. */
function checkSession({ answers, beams, cache }: Flags): void {
  const given = [answers && "--answers", beams && "--beams", !cache && "--no-cache"];
  const [flag] = given.filter((each) => each);
  if (flag) throw new UserError(`A session keeps one text and its pages: leave out ${flag}.`);
}

interface Asked {
  readonly options: GenerateOptions;
  readonly json: boolean;
  /** The tokens before the prompt, whose text is not printed again. */
  readonly before?: readonly number[] | undefined;
}

/** Goes on from the text of a session, or begins one, and saves what has become of it. */
async function generateInSession(
  engine: Engine,
  prompt: string,
  {
    options,
    json,
    session,
    goesOn,
  }: Asked & { readonly session: string; readonly goesOn: boolean },
): Promise<void> {
  const kept = engine.prefixCache();
  let before: readonly number[] | undefined;
  if (goesOn) {
    const { sequence, messages } = await engine.openSession(session);
    if (messages || !sequence) {
      throw new UserError(
        `${session} has a conversation: \`dawnstream chat\` goes on from it by /session load.`,
      );
    }
    before = [...sequence.ids];
    kept.give(sequence, before);
  }
  await generate(engine, prompt, { options: { ...options, prefixCache: kept }, json, before });
  if (kept.text.length === 0) return; // nothing was computed
  await engine.saveSession(session, kept);
  note(`[${kept.text.length} tokens in ${session}]`);
}

async function generate(
  engine: Engine,
  prompt: string,
  { options, json, before }: Asked,
): Promise<void> {
  if (engine.tokenizer.vocabulary.chatTemplates.size > 0) {
    note("[this model has a chat template: `dawnstream chat` has it answer, generate goes on]");
  }
  let isFull = false;
  const onFill = () => {
    isFull = true; // printed after the text
  };
  const { parseSpecial = false } = options;
  const text = before
    ? [
        ...before,
        ...engine.tokenize(prompt, { continuation: true, addSpecial: false, parseSpecial }),
      ]
    : prompt;
  const generation = engine.generate(text, { ...options, onFill });
  const isStreamed = !json && options.answers === undefined;
  if (isStreamed) await writeText(prompt);
  for (;;) {
    const { done, value } = await generation.next();
    if (done) {
      if (json) await writeJson(report(engine, value));
      else if (value.answers) await writeAnswers(prompt, value.answers);
      else await write("\n");
      if (isFull) warnOfFill(value.usage);
      note(timingLine(engine, value));
      if (value.finishReason === "aborted") process.exitCode = 130; // as a shell reports Ctrl-C
      return;
    }
    if (isStreamed) await writeText(value.text);
  }
}

/** Answers one below the other: they come at the same time. */
async function writeAnswers(prompt: string, answers: readonly GenerationResult[]): Promise<void> {
  for (const [index, { text, seed }] of answers.entries()) {
    await write(
      `${index > 0 ? "\n" : ""}[answer ${index + 1} of ${answers.length}, seed ${seed}]\n`,
    );
    await writeText(prompt + text);
    await write("\n");
  }
}

function answerJson(result: GenerationResult) {
  return {
    text: result.text,
    tokens: result.tokens,
    finishReason: result.finishReason,
    ...(result.stopped === undefined ? {} : { stopped: result.stopped }),
    logprobs: result.logprobs,
    usage: usageJson(result.usage),
    seed: result.seed,
  };
}

function report(engine: Engine, result: GenerationResult) {
  const generated = result.tokens.length;
  return {
    ...answerJson(result),
    ...(result.answers ? { answers: result.answers.map(answerJson) } : {}),
    adapter: engine.loaded.adapter,
    timings: {
      loadMs: engine.loaded.ms,
      compileMs: engine.loaded.compiled.ms,
      prefillMs: result.prefillMs,
      prefillTokensPerSecond: rate(result.usage.promptTokens, result.prefillMs),
      decodeMs: result.decodeMs,
      decodeTokensPerSecond: rate(generated - 1, result.decodeMs),
      hostMs: engine.usage.hostMs,
    },
  };
}

function timingLine(engine: Engine, result: GenerationResult): string {
  const { usage, prefillMs, decodeMs, tokens } = result;
  const decoded = Math.max(0, tokens.length - 1); // the first one comes out of the prefill
  return [
    `[${loadInWords(engine)}`,
    `${promptInWords(usage)} in ${duration(prefillMs)}`,
    `${tokens.length} tokens, ${rate(decoded, decodeMs).toFixed(1)} tok/s`,
    ...draftsInWords(usage),
    ...freeInWords(usage),
    `${result.finishReason}`,
    `seed ${result.seed}`,
    `${engine.loaded.adapter.split(",")[0]}]`,
  ].join(" | ");
}
