import type { Message } from "../../context/text/message.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { chatPrompt } from "./chat-prompt.ts";
import type { ChatTemplate } from "./chat-template.ts";

const NOTHING_ASKED: Message = { role: "user", content: "" };

/**
 * Counts the tokens of rendered messages, with BOS, without the text that opens an answer. Many
 * templates refuse an empty conversation, or a system message alone: these are counted together
 * with an empty question, whose tokens are subtracted.
 */
export function messageCounter(
  tokenizer: Tokenizer,
  template: ChatTemplate,
): (messages: readonly Message[]) => number {
  const tokensOf = (messages: readonly Message[]) =>
    chatPrompt(tokenizer, template, messages).ids.length;
  let empty: number | undefined;
  return (messages) => {
    const first = messages.findIndex(({ role }) => role !== "system");
    if (messages[first]?.role === "user") return tokensOf(messages);
    empty ??= tokensOf([NOTHING_ASKED]);
    const at = first < 0 ? messages.length : first;
    return tokensOf(messages.toSpliced(at, 0, NOTHING_ASKED)) - empty;
  };
}
