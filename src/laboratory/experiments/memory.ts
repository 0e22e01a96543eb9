// What does a model still know of a long conversation? Which messages each strategy of memory
// keeps, summarises or drops, and how full the context is. Needs no engine but for summaries.

import type {
  ConversationMemory,
  MemoryBudget,
  Recollection,
} from "../../context/text/memory/memory.ts";
import type { Message } from "../../context/text/message.ts";
import type { Watch } from "../watch.ts";

/** What a strategy recalls. */
export interface Recalled extends Recollection {
  readonly strategy: string;
}

/** Also, as the conversation goes on. */
export interface MemoryRun extends Recalled {
  /**
   * Tokens that the model sees when it answers each of the user's messages, if that is asked for.
   */
  readonly fill: readonly { readonly message: number; readonly tokens: number }[];
}

/**
 * Recalls a conversation by each strategy; `withFill`: also as it was at each of the user's
 * messages.
 */
export async function compareMemories(
  conversation: readonly Message[],
  memories: readonly ConversationMemory[],
  budget: MemoryBudget,
  withFill: boolean,
  { onProgress }: Watch = {},
): Promise<MemoryRun[]> {
  const asked = withFill
    ? [...conversation.keys()].filter((i) => conversation[i]!.role === "user")
    : [];
  const total = memories.length * (asked.length + 1);
  let done = 0;
  onProgress?.(done, total);
  const results: MemoryRun[] = [];
  for (const memory of memories) {
    const recall = async (length: number) => {
      const recollection = await memory.recall(conversation.slice(0, length), budget);
      onProgress?.(++done, total);
      return recollection;
    };
    const fill: MemoryRun["fill"][number][] = [];
    for (const index of asked) {
      fill.push({ message: index + 1, tokens: (await recall(index + 1)).tokens });
    }
    results.push({ strategy: memory.name, ...(await recall(conversation.length)), fill });
  }
  return results;
}
