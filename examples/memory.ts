// A conversation that is longer than its budget, remembered in five ways: what stays of it, and how well the model expects
// the last answer, which is about the beginning, given what each recalls.                npx tsx examples/memory.ts
import { readFileSync } from "node:fs";
import {
  conversationMemory,
  Engine,
  type Fate,
  loadTokenizer,
  type Message,
  parseMemory,
  readConversation,
  SHIPPED_MODEL,
  type Summarizer,
} from "dawnstream";

const file = new URL("conversation.json", import.meta.url);
const conversation = readConversation(readFileSync(file, "utf8"));
const answer = conversation.at(-1)!;
const tokenizer = await loadTokenizer(SHIPPED_MODEL);
const textOf = (messages: readonly Message[]) =>
  messages.map(({ role, content }) => `${role}: ${content}\n`).join("");
const count = (messages: readonly Message[]) => tokenizer.encode(textOf(messages)).length;

// The model that ships is too small to summarise: the first sentence of each answer has to do.
const summarize: Summarizer = async (text) => {
  const soFar = /^Summary of the conversation so far: (.*)/.exec(text)?.[1] ?? "";
  return `${soFar} ${/^assistant: (.*?[.!?])/m.exec(text)?.[1] ?? ""}`;
};
const signOf = ({ kind }: Fate) => ({ kept: "#", summarised: "~", part: "+", dropped: "." })[kind];

console.log("# kept, ~ summarised, + seen in part, . dropped");
for (const tokens of [128, 192, 384]) {
  for (const name of ["turns:1", "buffer", "summary", "summary:5", `sinks:4+${tokens - 4}`]) {
    const memory = conversationMemory(parseMemory(name), { summarize, tokenizer });
    const recalled = await memory.recall(conversation.slice(0, -1), { tokens, count });

    const engine = await Engine.load(SHIPPED_MODEL, { attention: memory.attention });
    try {
      const given = engine.tokenize(`${textOf(recalled.messages)}${answer.role}:`);
      const next = engine.tokenize(` ${answer.content}`, { continuation: true });
      const { nll } = await engine.score([...given, ...next]);
      const surprise = nll.slice(-next.length).reduce((a, b) => a + b, 0);
      console.log(
        `${name.padEnd(11)} ${recalled.fates.map(signOf).join("")} ` +
          `${recalled.tokens} of ${tokens} tokens, last answer ${surprise.toFixed(1)} nats`,
      );
    } finally {
      await engine.close();
    }
  }
}
