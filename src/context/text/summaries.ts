// Summarises a text of any length: its windows, then neighbouring summaries together, level by
// level, until the result fits the budget. Returns the whole tree.

import { UserError } from "../../errors.ts";
import {
  abortSignal,
  callback,
  needed,
  type Readers,
  readOptions,
  text as textReader,
  whole,
} from "../../option-reader.ts";
import type { Summarizer } from "./summarizer.ts";
import type { TextTokenizer } from "./text-tokenizer.ts";
import { textTokenizer, truncate } from "./truncation.ts";
import {
  type StreamTokenizer,
  type TextSource,
  type TextWindow,
  WINDOW_READERS,
  windows,
} from "./windows.ts";

export interface SummaryNode {
  /** 0 for a window of the document, else one more than the highest of its children. */
  readonly level: number;
  readonly text: string;
  /** Tokens of `text`, tokenized alone. */
  readonly tokens: number;
  /** The nodes that it was made from, in the order of the document. */
  readonly children: readonly SummaryNode[];
  /** The tokens [start, end) of the document that it summarises. */
  readonly start: number;
  readonly end: number;
}

export interface SummaryTree {
  /** The root, whose text is the summary. */
  readonly root: SummaryNode;
  /**
   * The whole document, shorter from level to level: its windows, their summaries, and so on; the
   * last level is the root alone. A summary without a neighbour to join moves up unchanged.
   */
  readonly levels: readonly (readonly SummaryNode[])[];
}

export interface SummaryOptions {
  /** Tokens of a window, and the most that summaries summarised together have. */
  readonly size: number;
  /** Tokens that a window shares with the one before it. Default: 0. */
  readonly overlap?: number | undefined;
  /** The most tokens of the final summary. */
  readonly budget: number;
  /**
   * At least this many summaries fit a window, each being cut to its part of it. At least 2.
   * Default: 4.
   */
  readonly fanIn?: number | undefined;
  readonly summarizer: Summarizer;
  /** Aborts before the next summary: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called with every window and every summary, as soon as it is made. */
  readonly onNode?: ((node: SummaryNode) => void) | undefined;
}

export const SUMMARY_READERS = {
  ...WINDOW_READERS,
  budget: needed(whole(1)),
  fanIn: whole(2),
  summarizer: needed(callback),
  signal: abortSignal,
  onNode: callback,
} satisfies Readers<SummaryOptions>;

export const DEFAULT_FAN_IN = 4;

/** Stands between summaries that are joined, and is a token. */
const BETWEEN = "\n";

/**
 * Summarises a document in at most `budget` tokens. One that fits the budget is its own summary.
 * Throws a `UserError` for invalid numbers and for an empty document.
 *
 * It ends for any summarizer, after at most 1 + log2(windows) levels of summaries: each summary is
 * grouped with at least one neighbour, except perhaps the last, so that n of them become at most
 * ceil(n / 2); and a single one fits the budget, since it is cut to it.
 */
export async function summarize(
  document: TextSource,
  tokenizer: TextTokenizer & StreamTokenizer,
  options: SummaryOptions,
): Promise<SummaryTree> {
  const read = readOptions("summarize", options, SUMMARY_READERS);
  const { size, overlap, budget, summarizer, signal, onNode = () => {} } = read;
  textTokenizer(tokenizer, "tokenizer");
  const count = (text: string) => tokenizer.encode(text, { addSpecial: false }).length;
  const maxTokens = summaryShare(read);

  const leaves: SummaryNode[] = [];
  let whole = "";
  for await (const window of windows(document, tokenizer, { size, overlap })) {
    signal?.throwIfAborted();
    // Once the document exceeds the budget, its whole text is not needed, only its windows.
    if (window.start < budget) whole += newText(window, whole.length);
    const { text, start, end } = window;
    leaves.push({ level: 0, text, tokens: count(text), children: [], start, end });
  }
  const { end } = leaves.at(-1)!;
  if (end <= budget) {
    const root = { level: 0, text: whole, tokens: end, children: [], start: 0, end };
    onNode(root);
    return { root, levels: [[root]] };
  }
  for (const leaf of leaves) onNode(leaf);

  const summary = async (children: readonly SummaryNode[]): Promise<SummaryNode> => {
    signal?.throwIfAborted();
    const level = levelAbove(children);
    const given = await summarizer(joined(children), { maxTokens, level, signal });
    textReader(given ?? null, "summary of the summarizer's");
    const { text, tokens } = truncate(given, tokenizer, { budget: maxTokens });
    const node = { level, text, tokens, children, ...spanOf(children) };
    onNode(node);
    return node;
  };

  const levels: SummaryNode[][] = [leaves];
  let groups = leaves.map((leaf) => [leaf]);
  for (;;) {
    const nodes: SummaryNode[] = [];
    for (const group of groups) {
      const [only] = group;
      nodes.push(group.length === 1 && only!.level > 0 ? only! : await summary(group));
    }
    levels.push(nodes);
    if (nodes.length === 1) return { root: nodes[0]!, levels };
    const text = joined(nodes);
    const tokens = count(text);
    if (tokens <= budget) {
      const level = levelAbove(nodes);
      const root = { level, text, tokens, children: nodes, ...spanOf(nodes) };
      onNode(root);
      return { root, levels: [...levels, [root]] };
    }
    groups = grouped(nodes, (group) => count(joined(group)) <= size);
  }
}

/** Tokens that each summary may have: `fanIn` of them, and what stands between, fit a window. */
export function summaryShare({
  size,
  budget,
  fanIn = DEFAULT_FAN_IN,
}: Pick<SummaryOptions, "size" | "budget" | "fanIn">): number {
  const share = Math.floor((size + 1) / fanIn) - 1;
  if (share >= 1) return Math.min(budget, share);
  throw new UserError(
    `A window of ${size} tokens has no room for ${fanIn} summaries: expected at least ${2 * fanIn - 1}.`,
  );
}

/** Neighbours, as many together as fit, but always two if there are two. */
function grouped(
  nodes: readonly SummaryNode[],
  fits: (group: readonly SummaryNode[]) => boolean,
): SummaryNode[][] {
  const groups: SummaryNode[][] = [];
  for (const node of nodes) {
    const last = groups.at(-1);
    if (last && (last.length === 1 || fits([...last, node]))) last.push(node);
    else groups.push([node]);
  }
  return groups;
}

/** The text that a window adds to the windows before it. */
function newText({ text, textStart }: TextWindow, length: number): string {
  return text.slice(length - textStart);
}

function joined(nodes: readonly SummaryNode[]): string {
  return nodes
    .map(({ text }) => text)
    .filter((text) => text !== "")
    .join(BETWEEN);
}

function levelAbove(nodes: readonly SummaryNode[]): number {
  return 1 + Math.max(...nodes.map(({ level }) => level));
}

/** Overlapping windows end in order: the last of a group reaches furthest. */
function spanOf(nodes: readonly SummaryNode[]): { start: number; end: number } {
  return { start: nodes[0]!.start, end: nodes.at(-1)!.end };
}
