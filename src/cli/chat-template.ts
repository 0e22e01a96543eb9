import { existsSync } from "node:fs";
import { type ChosenTemplate, chatTemplateOf } from "../engine/chat/chosen-template.ts";
import type { Tokenizer } from "../engine/tokenizer/tokenizer.ts";
import { readText } from "./input.ts";

/** The template that a flag names, by name or as a file, or else the model's own. */
export async function chosenTemplate(
  { vocabulary }: Tokenizer,
  flag: string | undefined,
): Promise<ChosenTemplate> {
  const isFile = flag !== undefined && /[./\\]/.test(flag) && existsSync(flag);
  return chatTemplateOf(vocabulary, isFile ? await readText(flag) : flag);
}
