// What all commands share: the form of their help and of error messages.

import { Command as AnyCommand, CommanderError, Help, type Option } from "commander";
import { OptionError, UserError } from "../../errors.ts";
import { oneLine } from "./printable.ts";

/** The heading of the flags that `--help` leaves out: the options of loading a model. */
export const ENGINE_FLAGS = "Engine flags:";

const HELP_ALL = "--help-all";

/**
 * A command with an example. `--help` is short, `--help-all` has every flag; that of several
 * commands has all of theirs.
 */
export class Command extends AnyCommand {
  #example = "";
  #showsAll = false;
  /** The words that are not flags, from the name of a subcommand on. */
  #words: readonly string[] = [];

  constructor(name: string) {
    super(name);
    this.exitOverride()
      .configureOutput({ outputError: (text, write) => write(`${oneLine(text)}\n`) })
      .showHelpAfterError(false)
      .showSuggestionAfterError(true)
      .allowExcessArguments(false);
  }

  /** A line as a user types it, for the help. */
  example(line: string): this {
    this.#example = line;
    return this;
  }

  /** What `--help-all` prints. */
  helpAll(): string {
    this.#showsAll = true;
    try {
      const parts = this.commands.map((command) => (command as Command).helpAll());
      return [this.helpInformation(), ...parts].join("\n");
    } finally {
      this.#showsAll = false;
    }
  }

  override createHelp(): Help {
    return new CommandHelp(this.#example, this.#showsAll);
  }

  /** An error about an option's value names the flag. */
  override addOption(option: Option): this {
    const { parseArg: read, long } = option;
    if (read !== undefined) {
      option.argParser((text, before) => {
        try {
          return read(text, before);
        } catch (error) {
          if (error instanceof OptionError && long) throw new UserError(error.messageFor(long));
          throw error;
        }
      });
    }
    return super.addOption(option);
  }

  /** Answers `--help-all` wherever it stands, as commander does `--help`. */
  override parseOptions(args: string[]): ReturnType<AnyCommand["parseOptions"]> {
    const parsed = super.parseOptions(args);
    const given = this.parent instanceof Command ? this.parent.#words.slice(1) : [];
    this.#words = [...given, ...parsed.operands];
    const isOthers = this.commands.some((command) => command.name() === this.#words[0]);
    if (isOthers || !parsed.unknown.includes(HELP_ALL)) return parsed;
    process.stdout.write(this.helpAll());
    throw new CommanderError(0, "commander.helpDisplayed", "(outputHelp)");
  }
}

class CommandHelp extends Help {
  readonly #example: string;
  readonly #showsAll: boolean;
  /** While the help is written; a misspelt flag is compared with all of them. */
  #isShort = false;

  constructor(example: string, showsAll: boolean) {
    super();
    this.#example = example;
    this.#showsAll = showsAll;
  }

  override visibleOptions(command: AnyCommand): Option[] {
    const options = super.visibleOptions(command);
    return this.#isShort ? options.filter((option) => !isFolded(option)) : options;
  }

  override commandUsage(command: AnyCommand): string {
    const needed = command.options.filter(({ mandatory }) => mandatory);
    const usage = [...needed.map(({ flags }) => flags), "[options]"].join(" ");
    return super.commandUsage(command).replace("[options]", usage);
  }

  override optionDescription(option: Option): string {
    return `${super.optionDescription(option)}${option.mandatory ? " (required)" : ""}`;
  }

  override formatHelp(command: AnyCommand, helper: Help): string {
    const folded = this.visibleOptions(command).filter(isFolded).length;
    this.#isShort = !this.#showsAll;
    const parts = [super.formatHelp(command, helper).trimEnd(), `Example:\n  ${this.#example}`];
    this.#isShort = false;
    if (!this.#showsAll && command.commands.length > 0) {
      parts.push(`${HELP_ALL} shows all flags of all commands.`);
    } else if (!this.#showsAll && folded > 0) {
      parts.push(`${HELP_ALL} also shows the ${folded} engine flags: how the model is loaded.`);
    }
    return `${parts.join("\n\n")}\n`;
  }
}

function isFolded({ helpGroupHeading }: Option): boolean {
  return helpGroupHeading === ENGINE_FLAGS;
}
