// The flag that says where drafts come from: the text itself, or a second model.

import { InvalidArgumentError } from "commander";
import {
  type DraftText,
  draftReader,
  MOST_DRAFTED,
  sameVocabulary,
} from "../../engine/drafts/draft-option.ts";
import type { Engine } from "../../engine/engine.ts";
import type { GenerateOptions } from "../../engine/generation/generation-request.ts";
import { resolveSetting } from "../../engine/options.ts";
import type { Command } from "./command.ts";
import { withEngine } from "./terminal.ts";

/** Drafts by the text itself, or the path of a smaller model. */
export interface DraftFlag {
  readonly draft?: string;
}

export function addDraftFlag(command: Command, more = ""): Command {
  return command.option(
    "--draft <source>",
    `guess several tokens and verify them in one step: ngram or ngram:K (what the text had before, K tokens at most), or a smaller model's file${more}`,
    readDraft,
  );
}

function readDraft(text: string): string {
  if (!isText(text) || isDraft(text)) return text;
  throw new InvalidArgumentError(
    `Expected ngram, ngram:K with K from 1 to ${MOST_DRAFTED}, or a GGUF file.`,
  );
}

/** What there is to check of drafts before a model is loaded. */
export function draftToCheck({ draft }: DraftFlag): GenerateOptions["draft"] {
  return draft === undefined || isText(draft) ? draft : "ngram";
}

/** Loads the model that drafts, if it takes one, with room for the texts of `engine`. */
export async function withDraft<T>(
  { draft }: DraftFlag,
  engine: Engine,
  use: (draft: GenerateOptions["draft"]) => Promise<T>,
): Promise<T> {
  if (draft === undefined || isText(draft)) return use(draft);
  const { context, cache } = engine.setting;
  const cacheTokens = cache.shape.pageSize * Math.max(...cache.groups.map(({ pages }) => pages));
  return withEngine(
    draft,
    ({ config }) => ({
      context: Math.min(context, resolveSetting(config, {}).context),
      cacheTokens,
    }),
    ({ tokenizer }) => sameVocabulary(engine.tokenizer, tokenizer),
    use,
  );
}

/** Whether it names no file. */
function isText(draft: string): draft is DraftText {
  return /^ngram(:|$)/.test(draft);
}

function isDraft(text: DraftText): boolean {
  try {
    draftReader(text, "draft");
    return true;
  } catch {
    return false;
  }
}
