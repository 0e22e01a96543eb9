// Options of answers that can be changed during a conversation. Each is a flag of the command, and
// is read as the flag is.

import { InvalidArgumentError, type Option } from "commander";
import type { GenerateOptions } from "../../engine/generation/generation-request.ts";
import { DEFAULT_MAX_TOKENS } from "../../engine/generation/token-usage.ts";
import type { SamplingOptions } from "../../engine/sampler/sampler.ts";
import { resolveSampling, SAMPLING_READERS } from "../../engine/sampler/sampling-options.ts";
import { OptionError, UserError } from "../../errors.ts";
import { knownNames, quoteValue } from "../../option-reader.ts";

export type AnswerOptions = SamplingOptions & Pick<GenerateOptions, "maxTokens" | "stop" | "draft">;

const NAMES: readonly string[] = [...Object.keys(SAMPLING_READERS), "maxTokens", "stop"];

export class Settings {
  /** By name, as in "top-k". */
  readonly #flags: ReadonlyMap<string, Option>;

  /** The flags of a command, those of other things among them. */
  constructor(flags: readonly Option[]) {
    const own = flags.filter((flag) => NAMES.includes(flag.attributeName()));
    this.#flags = new Map(own.map((flag) => [flag.name(), flag]));
  }

  get names(): readonly string[] {
    return [...this.#flags.keys()];
  }

  /**
   * Gives `choose` the options with one of them changed, "default" being its default. Throws a
   * `UserError` that calls it by the name of the flag if there is no such name, or if the flag or
   * `choose` refuses the value.
   */
  change(
    options: AnswerOptions,
    name: string,
    text: string,
    choose: (options: AnswerOptions) => void,
  ): void {
    const flag = this.#flag(name);
    const attribute = flag.attributeName() as keyof AnswerOptions;
    const { [attribute]: before, ...others } = options;
    try {
      choose(
        text === "default" ? others : { ...others, [attribute]: flag.parseArg?.(text, before) },
      );
    } catch (error) {
      if (error instanceof InvalidArgumentError) {
        const expected = error.message.charAt(0).toLowerCase() + error.message.slice(1);
        throw new UserError(`Invalid ${flag.name()} ${quoteValue(text)}: ${expected}`);
      }
      if (!(error instanceof OptionError) || error.option !== attribute) throw error;
      throw new UserError(error.messageFor(flag.name()));
    }
  }

  /** A line for each option, or for the one named; `defaults` are those of the model's file. */
  describe(options: AnswerOptions, defaults: SamplingOptions, name?: string): string {
    const { seed, logitBias, stop, draft: _, ...numbers } = options;
    const values: Readonly<Record<string, unknown>> = {
      ...resolveSampling({ ...defaults, seed: 0 }, 1),
      ...numbers,
      maxTokens: numbers.maxTokens ?? DEFAULT_MAX_TOKENS,
      seed: seed ?? "random",
      logitBias: listed(
        logitBias as ReadonlyMap<number, number> | undefined,
        ([id, bias]) => `${id}=${bias === Number.NEGATIVE_INFINITY ? "-inf" : bias}`,
      ),
      stop: listed(stop, quoteValue),
    };
    return (name === undefined ? [...this.#flags.values()] : [this.#flag(name)])
      .map((flag) => `${flag.name().padEnd(18)} ${values[flag.attributeName()]}`)
      .join("\n");
  }

  /** Also "--top-k", "top_k" and "topK". */
  #flag(name: string): Option {
    const spelled = name
      .replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
      .replaceAll("_", "-")
      .replace(/^-+/, "");
    const flag = this.#flags.get(spelled);
    if (flag) return flag;
    throw new UserError(
      `There is no option ${quoteValue(name)}: ${knownNames(spelled, this.names)}.`,
    );
  }
}

function listed<T>(values: Iterable<T> | undefined, show: (value: T) => string): string {
  return [...(values ?? [])].map(show).join(", ") || "none";
}
