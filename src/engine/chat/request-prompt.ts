import { text } from "../../option-reader.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import { chatPrompt } from "./chat-prompt.ts";
import { chatTemplateOf } from "./chosen-template.ts";

/**
 * What a model is given so that it does what a text asks for: a conversation that consists of it, through the file's own
 * chat template. A file without one gets the text itself, to go on from.
 */
export function requestPrompt(
  { tokenizer }: Pick<OpenedModel, "tokenizer">,
  request: string,
): string | readonly number[] {
  text(request, "request");
  const { vocabulary } = tokenizer;
  if (!vocabulary.chatTemplates.has("default")) return request;
  const { template } = chatTemplateOf(vocabulary);
  const conversation = [{ role: "user", content: request }] as const;
  return chatPrompt(tokenizer, template, conversation, { addGenerationPrompt: true }).ids;
}
