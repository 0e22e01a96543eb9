import { existsSync } from "node:fs";
import { readText } from "./input.ts";

/** What `--template` names: a template's name, or the Jinja in a file. */
export async function templateChoice(flag: string | undefined): Promise<string | undefined> {
  const isFile = flag !== undefined && /[./\\]/.test(flag) && existsSync(flag);
  return isFile ? await readText(flag) : flag;
}
