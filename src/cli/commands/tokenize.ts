import { loadTokenizer } from "../../index.ts";
import { Command } from "../terminal/command.ts";
import { addModelFlag, type ModelFlags } from "../terminal/flags.ts";
import { givenText } from "../terminal/input.ts";
import { modelPath, note, write, writeJson } from "../terminal/terminal.ts";

interface Flags extends ModelFlags {
  readonly file?: string;
  readonly bos: boolean;
  readonly parseSpecial?: boolean;
  readonly json?: boolean;
}

/** `dawnstream tokenize`: the token ids of a text. Needs no GPU, and no more than a vocabulary. */
export function tokenizeCommand(): Command {
  const command = new Command("tokenize")
    .description("show the tokens of a text")
    .example('dawnstream tokenize "Once upon a time" --json')
    .argument("[text]", "the text; - is stdin, as is a pipe without it")
    .option("-f, --file <file>", "take the text from a file")
    .option("--no-bos", "leave out the tokens that begin and end a text")
    .option("--parse-special", "take special tokens spelled in the text as such")
    .option("--json", "print the array of ids only");
  return addModelFlag(command).action(async (argument: string | undefined, flags: Flags) => {
    const text = await givenText(argument, flags.file);
    const tokenizer = await loadTokenizer(await modelPath(flags.model));
    const ids = tokenizer.encode(text, {
      addSpecial: flags.bos,
      parseSpecial: flags.parseSpecial ?? false,
    });
    if (flags.json) return writeJson(ids);
    const lines = ids.map((id) => `${id}\t${JSON.stringify(tokenizer.vocabulary.text(id))}\n`);
    await write(lines.join(""));
    note(`[${ids.length} tokens]`);
  });
}
