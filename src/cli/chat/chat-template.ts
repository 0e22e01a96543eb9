import { UserError } from "../../errors.ts";
import { readText } from "../terminal/input.ts";

/** What `--template` names: a template's name, or the Jinja in a file. */
export async function templateChoice(flag: string | undefined): Promise<string | undefined> {
  if (flag === undefined || !/[./\\]/.test(flag)) return flag;
  const source = await readText(flag);
  if (/\{[{%]/.test(source)) return source;
  throw new UserError(`${flag} is no chat template: expected Jinja, with {{ or {% in it.`);
}
