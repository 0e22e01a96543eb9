import { UserError } from "../../errors.ts";
import { loadTokenizer } from "../../index.ts";
import { Command } from "../terminal/command.ts";
import { addModelFlag, integer, type ModelFlags } from "../terminal/flags.ts";
import { readTokens } from "../terminal/input.ts";
import { modelPath, writeJson, writeText } from "../terminal/terminal.ts";

interface Flags extends ModelFlags {
  readonly tokens?: string;
  readonly special?: boolean;
  readonly json?: boolean;
}

/** `dawnstream detokenize`: the text of token ids. */
export function detokenizeCommand(): Command {
  const command = new Command("detokenize")
    .description("show the text of token ids")
    .example("dawnstream detokenize 1 403 407 261 378")
    .argument("[ids...]", "token ids")
    .option("--tokens <file>", "take the ids from a JSON file")
    .option("--special", "show control tokens as they are spelled")
    .option("--json", "print the text as a JSON string");
  return addModelFlag(command).action(async (words: string[], flags: Flags) => {
    if ((words.length === 0) === (flags.tokens === undefined)) {
      throw new UserError("Give either token ids or --tokens FILE.");
    }
    const ids = flags.tokens === undefined ? words.map(readId) : await readTokens(flags.tokens);
    const tokenizer = await loadTokenizer(await modelPath(flags.model));
    const text = tokenizer.decode(ids, { special: flags.special ?? false });
    await (flags.json ? writeJson(text) : writeText(`${text}\n`));
  });
}

function readId(word: string): number {
  try {
    return integer(word);
  } catch {
    throw new UserError(`"${word}" is no token id: expected a whole number.`);
  }
}
