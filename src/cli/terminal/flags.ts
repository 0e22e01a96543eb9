// Flags that several commands share, spelled the same everywhere, and how their values are read.

import { accessSync, constants, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import { KEY_STORAGES } from "../../context/cache/rotations.ts";
import {
  type AttentionPolicy,
  attentionPolicy,
  parseAttention,
} from "../../context/positions/attention-policy.ts";
import { parseRope } from "../../context/positions/rope-choice.ts";
import { type EngineOptions, whenFullReader } from "../../engine/options.ts";
import type { SamplingOptions } from "../../engine/sampler/sampler.ts";
import { UserError } from "../../errors.ts";
import { KV_TYPES } from "../../kernels/attention/kv-types.ts";
import { word } from "../../option-reader.ts";
import { SHIPPED_MODEL } from "../../platform/node.ts";
import { canDraw } from "../reports/picture.ts";
import { printProfile } from "../reports/profile-report.ts";
import { type Command, ENGINE_FLAGS } from "./command.ts";

/** A whole number. */
export function integer(text: string): number {
  if (!/^[+-]?\d+$/.test(text)) throw new InvalidArgumentError("Expected a whole number.");
  return Number(text);
}

/** Whole numbers of tokens, as in "128,512". */
export function integers(text: string): number[] {
  const numbers = text.split(",").map(integer);
  if (numbers.some((n) => n < 0)) throw new InvalidArgumentError("Expected numbers of tokens.");
  return numbers;
}

export function number(text: string): number {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    throw new InvalidArgumentError("Expected a number.");
  }
  return Number(text);
}

/** A file whose folder can be written: checked first, so that a wrong path wastes no work. */
export function outputFile(path: string): string {
  if (path === "") throw new InvalidArgumentError("Expected the name of a file.");
  try {
    accessSync(dirname(resolve(path)), constants.W_OK);
  } catch {
    throw new InvalidArgumentError("There is no such folder, or it cannot be written to.");
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw new InvalidArgumentError("It is a folder: give the name of a file.");
  }
  return path;
}

/** A picture to be drawn. */
export function pictureFile(path: string): string {
  if (!/\.(svg|png)$/.test(path))
    throw new InvalidArgumentError("Expected a file name that ends in .svg or .png.");
  if (!canDraw()) {
    throw new InvalidArgumentError(
      "The packages that draw are not installed: run `npm install --include=optional`.",
    );
  }
  return outputFile(path);
}

/** One of these words. */
export function choice<const W extends string>(words: readonly W[]): (text: string) => W {
  const read = word(words);
  return (text) => read(text, "choice");
}

/** Attention policies, as in "full,sinks:4+60". */
export function policies(text: string): AttentionPolicy[] {
  return text.split(",").map((name) => attentionPolicy(parseAttention(name)));
}

export interface ModelFlags {
  readonly model: string;
}

export function addModelFlag(command: Command): Command {
  return command.addOption(
    new Option(
      "-m, --model <file>",
      "GGUF file, hf:OWNER/REPO[:QUANT|/FILE.gguf] or an https address, which are fetched once",
    ).default(
      process.env.DAWNSTREAM_MODEL || SHIPPED_MODEL, // empty means unset
      "DAWNSTREAM_MODEL, or the small model that ships",
    ),
  );
}

/**
 * The model of a command that takes it as FILE or in --model. Throws a `UserError` if both are
 * given.
 */
export function givenModel(file: string | undefined, command: Command): string {
  if (file !== undefined && command.getOptionValueSource("model") === "cli") {
    throw new UserError("Two models: give either FILE or --model FILE.");
  }
  return file ?? command.opts<ModelFlags>().model;
}

export interface EngineFlags extends ModelFlags {
  readonly context?: number;
  readonly attention?: EngineOptions["attention"];
  readonly whenFull?: EngineOptions["whenFull"];
  readonly rope?: EngineOptions["rope"];
  readonly ropeFreqBase?: number;
  readonly ropeFreqScale?: number;
  readonly keys?: EngineOptions["keys"];
  readonly kv?: EngineOptions["kv"];
  readonly page?: number;
  readonly chunk?: number;
  readonly sequences?: number;
  readonly cacheTokens?: number;
  readonly maxWaiting?: number;
  readonly profile?: boolean;
}

type EngineFlag = Exclude<keyof EngineFlags, "model">;

/** What a command decides that has one text at a time. */
export const ONE_TEXT = {
  sequences: "one text runs at a time",
  cacheTokens: "one text runs at a time, and the cache has room for it",
  maxWaiting: "one text runs at a time, and none waits",
} as const;

/**
 * Adds what the engine is loaded with. A command that sets some of them itself gives the reason in
 * `decided`, by the flag's name: such a flag is not in its help, and using it is an error with this
 * reason. So no flag is read and ignored.
 */
export function addEngineFlags(
  command: Command,
  decided: Readonly<Partial<Record<EngineFlag, string>>> = {},
): Command {
  addModelFlag(command).optionsGroup(ENGINE_FLAGS);
  declareEngineFlags(command);
  command.optionsGroup("");
  for (const option of command.options) {
    const reason = decided[option.attributeName() as EngineFlag];
    if (reason === undefined) continue;
    option.hideHelp();
    command.on(`option:${option.name()}`, () => {
      throw new UserError(`${option.long} does nothing here: ${reason}.`);
    });
  }
  return command;
}

function declareEngineFlags(command: Command): void {
  command
    .option(
      "-c, --context <n>",
      "the most tokens of a text (default: the model's, at most 4096)",
      integer,
    )
    .option("--attention <policy>", "full, window:W or sinks:S+W (default: full)", parseAttention)
    .option(
      "--when-full <choice>",
      "of a full context: error, stop or slide:K (default: error)",
      (text) => whenFullReader(text, "choice"),
    )
    .option(
      "--rope <scaling>",
      "none, linear:s, ntk:s, dynamic-ntk:s, yarn:s[:original][:fast=f][:slow=f][:attention=a], " +
        "llama3:s[:original][:low=f][:high=f], longrope, or auto for the context (default: what the file says)",
      (text) => (text === "auto" ? text : parseRope(text)),
    )
    .option(
      "--rope-freq-base <base>",
      "base of the rotary frequencies (default: the file's)",
      number,
    )
    .option("--rope-freq-scale <x>", "multiply them: 1 / factor of linear or yarn", number)
    .option(
      "--keys <storage>",
      "how keys lie in the cache: rotated when written, or raw and turned while read",
      choice(KEY_STORAGES),
    )
    .option(
      "--kv <type>",
      `how keys and values are stored: ${KV_TYPES.join(", ")} (default: f16)`,
      choice(KV_TYPES),
    )
    .option("--page <n>", "tokens a page of the cache (default: 16)", integer)
    .option("--chunk <n>", "the most tokens of a prompt computed at a time (default: 256)", integer)
    .option("--sequences <n>", "the most requests that run at once (default: 8)", integer)
    .option(
      "--cache-tokens <n>",
      "tokens that the cache has room for, of all texts together (default: those of one)",
      integer,
    )
    .option("--max-waiting <n>", "requests that may wait for others (default: 1024)", integer)
    .option("--profile", "print on stderr where the GPU's time went, kernel by kernel");
}

export function engineOptions(flags: EngineFlags): EngineOptions {
  const { context, attention, whenFull, rope, ropeFreqBase, ropeFreqScale } = flags;
  const { keys, kv, page: pageSize, chunk, sequences, cacheTokens, maxWaiting } = flags;
  return {
    context,
    attention,
    whenFull,
    rope,
    ropeFreqBase,
    ropeFreqScale,
    keys,
    kv,
    pageSize,
    chunk,
    sequences,
    cacheTokens,
    maxWaiting,
    ...(flags.profile ? { onProfile: printProfile } : {}),
  };
}

export type SamplingFlags = Omit<SamplingOptions, "minKeep">;

/** `temperature`: the command's default, whatever the model's file says. */
export function addSamplingFlags(command: Command, temperature?: number): Command {
  const greedy = `0 is greedy (default: ${temperature ?? "the model's, or 0.8"})`;
  return command
    .optionsGroup("Sampling flags:")
    .option("--temperature <t>", greedy, number)
    .option(
      "--top-k <n>",
      "keep the n likeliest tokens, 0: all (default: the model's, or 40)",
      integer,
    )
    .option(
      "--top-p <p>",
      "keep the likeliest tokens up to this probability (default: the model's, or 0.95)",
      number,
    )
    .option(
      "--min-p <p>",
      "keep tokens at least so likely, relative to the best (default: the model's, or 0.05)",
      number,
    )
    .option("--typical-p <p>", "keep the tokens of most typical surprise (default: 1, off)", number)
    .option(
      "--repeat-penalty <r>",
      "divide the logits of recent tokens (default: the model's, or 1, off)",
      number,
    )
    .option("--frequency-penalty <x>", "subtract for each recent use (default: 0)", number)
    .option("--presence-penalty <x>", "subtract for any recent use (default: 0)", number)
    .option(
      "--penalty-last-n <n>",
      "how many tokens are recent, -1: all (default: the model's, or 64)",
      integer,
    )
    .option(
      "--logit-bias <id=bias>",
      "add to the logit of a token; -inf bans it (repeatable)",
      readBias,
    )
    .option("-s, --seed <n>", "the same seed gives the same text (default: random)", integer)
    .optionsGroup("");
}

/** The sampling options that were given, and none that were not. */
export function samplingOptions(flags: SamplingFlags): SamplingOptions {
  const names = [
    "temperature",
    "topK",
    "topP",
    "minP",
    "typicalP",
    "repeatPenalty",
    "frequencyPenalty",
    "presencePenalty",
    "penaltyLastN",
    "logitBias",
    "seed",
  ] as const;
  return Object.fromEntries(
    names.filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]]),
  );
}

function readBias(
  text: string,
  before: ReadonlyMap<number, number> = new Map(),
): Map<number, number> {
  const [, id, bias] = /^(\d+)=(.+)$/.exec(text) ?? [];
  if (id === undefined || bias === undefined) {
    throw new InvalidArgumentError("Expected ID=BIAS, such as 42=-inf or 42=1.5.");
  }
  const value = bias === "-inf" ? Number.NEGATIVE_INFINITY : number(bias);
  return new Map([...before, [Number(id), value]]);
}

/** A flag that may be given several times. */
export function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

export interface TemplateFlag {
  readonly template?: string;
}

export function addTemplateFlag(command: Command): Command {
  return command.option(
    "--template <name>",
    "chat template by name, or a file of Jinja (default: the model's own)",
  );
}
