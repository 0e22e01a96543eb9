// Which pages of the cache texts share: each is computed beside those before it, and keeps its pages.

import type { Sequence } from "../../context/cache/sequence.ts";
import type { Engine } from "../../engine/engine.ts";
import { LAST_LOGITS } from "../../engine/run/step.ts";
import { prefill } from "../../engine/tasks/prefill.ts";
import type { Watch } from "../watch.ts";

export interface SharedPages {
  /** P: tokens a page. */
  readonly pageSize: number;
  /** Groups of layers, each with a cache of its own. */
  readonly groups: number;
  readonly texts: readonly {
    readonly tokens: number;
    /** Tokens whose pages another text had computed. */
    readonly found: number;
    /** Milliseconds until its last logits were there. */
    readonly ms: number;
    /** Its pages of the first cache group by position; undefined if a window has let one go. */
    readonly pages: readonly (number | undefined)[];
  }[];
  /** Pages of the cache, of all groups: in use, and kept for later texts once all of these have ended. */
  readonly used: number;
  readonly kept: number;
  readonly size: number;
}

/** Computes texts one after the other, in token ids; each finds what those before have computed. */
export async function sharedPages(
  engine: Engine,
  texts: readonly (readonly number[])[],
  { onProgress = () => {}, signal }: Watch = {},
): Promise<SharedPages> {
  const { pageSize } = engine.setting.cache.shape;
  const sequences: Sequence[] = [];
  try {
    const found: SharedPages["texts"][number][] = [];
    for (const [i, ids] of texts.entries()) {
      if (signal?.aborted) break;
      const sequence = engine.sequence();
      sequences.push(sequence);
      const began = performance.now();
      sequence.find(ids, ids.length - 1);
      await prefill(engine, sequence, ids.slice(sequence.length), LAST_LOGITS);
      const [table] = sequence.tables;
      found.push({
        tokens: ids.length,
        found: sequence.cached,
        ms: performance.now() - began,
        pages: Array.from({ length: Math.ceil(ids.length / pageSize) }, (_, page) =>
          table!.pageAt(page * pageSize),
        ),
      });
      onProgress(i + 1, texts.length);
    }
    const { pages: used } = engine.usage;
    for (const sequence of sequences) sequence.clear();
    const { keptPages: kept } = engine.usage;
    const size = engine.setting.cache.groups.reduce((sum, { pages }) => sum + pages, 0);
    return { pageSize, groups: engine.setting.cache.groups.length, texts: found, used, kept, size };
  } finally {
    for (const sequence of sequences) sequence.clear();
  }
}
