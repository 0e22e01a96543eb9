// Chooses the chat template: the file's own, one by name, or one that the user gives.

import { UserError } from "../../errors.ts";
import { hint, text } from "../../option-reader.ts";
import { quote } from "../gguf/reader.ts";
import type { Vocabulary } from "../tokenizer/vocabulary.ts";
import { ChatTemplate } from "./chat-template.ts";
import { NAMED_TEMPLATES } from "./named-templates.ts";

export interface ChosenTemplate {
  readonly template: ChatTemplate;
  /** "default" and others are the file's own; "given" is the user's. */
  readonly name: string;
  /**
   * What a user should know, a sentence or two: that the model may never have been taught to chat.
   */
  readonly warning: string | undefined;
}

/**
 * The file's default template, or by `choice` another of the file's, one of `NAMED_TEMPLATES`, or a
 * source in Jinja. A file without any gets "plain" and a warning. Throws a `UserError` if there is
 * no such name or the source is not valid Jinja.
 */
export function chatTemplateOf(vocabulary: Vocabulary, choice?: string): ChosenTemplate {
  const { chatTemplates, bos, eos } = vocabulary;
  const spelling = (id: number | undefined) => (id === undefined ? undefined : vocabulary.text(id));
  const tokens = { bos: spelling(bos), eos: spelling(eos) };
  const chosen = (name: string, source: string, warning?: string): ChosenTemplate => ({
    template: new ChatTemplate(source, tokens),
    name,
    warning,
  });

  if (choice !== undefined) text(choice, "template");
  if (choice !== undefined && /\{[{%]/.test(choice)) return chosen("given", choice);
  const name = choice ?? "default";
  const source = chatTemplates.get(name) ?? NAMED_TEMPLATES.get(name);
  if (source !== undefined) return chosen(name, source);

  const known = [...chatTemplates.keys(), ...NAMED_TEMPLATES.keys()];
  const names = known.join(", ");
  if (choice !== undefined) {
    throw new UserError(
      `There is no chat template ${quote(choice)}: expected one of ${names}, or a template in Jinja${hint(choice, known)}`,
    );
  }
  const warning = `The file has no chat template: messages are joined as plain text, as for a model that was never taught to chat. For one that was, name its template: ${names}.`;
  return chosen("plain", NAMED_TEMPLATES.get("plain")!, warning);
}
