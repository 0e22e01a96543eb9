// What stands out in an index for a question, and from what: the scores of all windows, in every
// mode.

import { ranking } from "../../context/text/retrieval/ranking.ts";
import {
  RETRIEVAL_MODES,
  type RetrievalMode,
  type TextIndex,
} from "../../context/text/retrieval/text-index.ts";

export interface WindowScores {
  readonly mode: RetrievalMode;
  /** Of each window of the index. */
  readonly scores: Float64Array;
  /** The windows that would be retrieved, best first. */
  readonly best: readonly number[];
}

/** Scores all windows in every mode; at most `k` of them would be retrieved. */
export async function scoreAllWindows(
  index: TextIndex,
  question: string,
  k: number,
): Promise<WindowScores[]> {
  const found: WindowScores[] = [];
  for (const mode of RETRIEVAL_MODES) {
    const scores = await index.scores(question, mode);
    const best = ranking(scores, (i) => mode !== "bm25" || scores[i]! > 0).slice(0, k);
    found.push({ mode, scores, best });
  }
  return found;
}
