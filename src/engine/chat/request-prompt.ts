import { text } from "../../option-reader.ts";
import type { OpenedModel } from "../model/opened-model.ts";
import { chatPrompt } from "./chat-prompt.ts";
import { chatTemplateOf } from "./chosen-template.ts";

/**
 * A prompt that makes the model do what a text asks for: a conversation of this one message in the
 * file's chat template, or the text itself if the file has none.
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
