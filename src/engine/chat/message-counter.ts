import type { Message } from "../../context/text/message.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { chatPrompt } from "./chat-prompt.ts";
import type { ChatTemplate } from "./chat-template.ts";

const NOTHING_ASKED: Message = { role: "user", content: "" };

/**
 * Counts messages as a model reads them: tokens of what the template makes of them, BOS included, without what opens an
 * answer. Many templates refuse an answer to nothing, or a system by itself: these are counted beside an empty question,
 * which is taken off again.
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
