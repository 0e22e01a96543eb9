// The work of attention in a step, as a list of items, one a workgroup: tokens of one text, and the
// slots of its page table that they meet. Integers in, integers out, without a GPU.
//
// The keys of a token are split into ranges of text positions, so that several workgroups take them:
// from a multiple of the length of a range to the next. The length follows from how many keys the
// token sees, and from nothing else of the step: so the sums of a token are the same whatever the
// page size, the other tokens of the step, and how its text was cut.

/** Consecutive tokens of one text in a step: their rows follow those of the piece before. */
export interface Piece {
  readonly tokens: number;
  /** Text position of the first. */
  readonly start: number;
  /** Where its text lies: the pages that are held, by ascending positions. */
  readonly entries: readonly { readonly page: number; readonly first: number }[];
  /** S, and W, which counts the query itself: both fit a u32. */
  readonly sinks: number;
  readonly window: number;
  /**
   * Tokens after a query that it sees, those of the piece: the text of an encoder is one piece.
   * Default: 0.
   */
  readonly ahead?: number | undefined;
}

/** The most tokens of a piece whose results do not depend on how its text is cut. */
export const SHORT_PIECE = 16;

export interface WorkOptions {
  /** P */
  readonly pageSize: number;
  /** The most tokens of an item: of short pieces, and of longer ones. */
  readonly tokens: { readonly short: number; readonly long: number };
  /**
   * Positions of a range, for a token that sees `keys` of them; `tiles` is how many items a longer piece has without
   * ranges, and 1 for a short one.
   */
  readonly range: (keys: number, tiles: number) => number;
  /** Rows that there are for what ranges leave to be merged. */
  readonly rows: number;
}

/** The lists of a step, as the kernels read them. */
export interface Work {
  /**
   * Items of pieces of at most `SHORT_PIECE` tokens, and of longer ones, [.., `ITEM_WORDS`]: the
   * fields of `Item` in work.wgsl.
   */
  readonly short: Uint32Array<ArrayBuffer>;
  readonly long: Uint32Array<ArrayBuffer>;
  /** Tokens whose ranges are merged, [.., 3]: the token, its first partial row, how many. */
  readonly merges: Uint32Array<ArrayBuffer>;
  /** The most tokens of a short item. */
  readonly shortTokens: number;
  /** The page tables of all pieces, one after the other, [.., 2]: page, and its first position. */
  readonly tables: Uint32Array<ArrayBuffer>;
  /** An item a piece, with all slots of its table. */
  readonly pieces: Uint32Array<ArrayBuffer>;
}

/** Words of an item. */
export const ITEM_WORDS = 10;

/** Words of a token that is merged. */
export const MERGE_WORDS = 3;

/** Ranges of positions that hold what a token sees: those of the sinks, then those of the window. */
interface Ranges {
  readonly length: number;
  /** Ranges with sinks are 0 to `sinks - 1`. */
  readonly sinks: number;
  /** The first and the last of those behind them. */
  readonly first: number;
  readonly last: number;
}

/** Makes the work of a step. */
export function planWork(pieces: readonly Piece[], options: WorkOptions): Work {
  // A step of more than `SHORT_PIECE` tokens may have more rows to merge than there is room for: it
  // takes longer ranges.
  for (let times = 1; ; times *= 2) {
    const list = new WorkList({ ...options, range: (...of) => times * options.range(...of) });
    for (const piece of pieces) list.add(piece);
    if (list.rows <= options.rows) return list.finish(pieces);
  }
}

class WorkList {
  readonly #options: WorkOptions;
  readonly #items = { short: [] as number[], long: [] as number[] };
  readonly #merges: number[] = [];
  readonly #whole: number[] = [];
  #shortTokens = 0;
  #token = 0;
  #table = 0;
  /** Partial rows so far. */
  rows = 0;

  constructor(options: WorkOptions) {
    this.#options = options;
  }

  add(piece: Piece): void {
    const { tokens, start, entries, sinks, window, ahead = 0 } = piece;
    const { pageSize, range } = this.#options;
    const kind = tokens <= SHORT_PIECE ? "short" : "long";
    const most = this.#options.tokens[kind];
    const last = lastSeen(piece);
    const seen = (t: number) => Math.min(last(start + t) + 1, sinks + window + ahead);
    const tiles = kind === "short" ? 1 : Math.ceil(tokens / most);
    const lengthOf = (t: number) => range(seen(kind === "short" ? t : tokens - 1), tiles);
    const rangesAt = (t: number) =>
      rangesOf({ position: start + t, last: last(start + t) }, sinks, window, lengthOf(t));
    for (let t = 0; t < tokens; ) {
      const ranges = rangesAt(t);
      const from = t;
      do t++;
      while (t < tokens && t - from < most && areEqual(rangesAt(t), ranges));
      this.#addTile(piece, kind, from, t - from, ranges);
    }
    const slots = entries.length * pageSize;
    this.#whole.push(this.#token, tokens, start, this.#table, 0, slots, sinks, window, 0, 1);
    this.#token += tokens;
    this.#table += entries.length;
  }

  /** Tokens with the same ranges: an item for each. */
  #addTile(
    piece: Piece,
    kind: "short" | "long",
    from: number,
    tokens: number,
    ranges: Ranges,
  ): void {
    const { start, entries, sinks, window } = piece;
    const { pageSize } = this.#options;
    const numbers = numbersOf(ranges);
    const ways = numbers.length;
    const first = start + from;
    const last = lastSeen(piece)(first + tokens - 1);
    numbers.forEach((number, i) => {
      const position = number * ranges.length;
      // Without sinks, nothing before the window of the first token is seen.
      const least = number < ranges.sinks ? 0 : first - window + 1;
      const begin = slotOf(entries, pageSize, Math.max(position, least));
      const end = slotOf(entries, pageSize, Math.min(position + ranges.length, last + 1));
      const out = ways === 1 ? 0 : this.rows + i;
      this.#items[kind].push(this.#token + from, tokens, first, this.#table, begin, end);
      this.#items[kind].push(sinks, window, out, ways);
    });
    if (kind === "short") this.#shortTokens = Math.max(this.#shortTokens, tokens);
    if (ways === 1) return;
    for (let t = 0; t < tokens; t++) {
      this.#merges.push(this.#token + from + t, this.rows, ways);
      this.rows += ways;
    }
  }

  finish(pieces: readonly Piece[]): Work {
    const tables = new Uint32Array(2 * this.#table);
    let at = 0;
    for (const { entries } of pieces) {
      for (const { page, first } of entries) {
        tables[at++] = page;
        tables[at++] = first;
      }
    }
    return {
      short: Uint32Array.from(this.#items.short),
      long: Uint32Array.from(this.#items.long),
      merges: Uint32Array.from(this.#merges),
      shortTokens: this.#shortTokens,
      tables,
      pieces: Uint32Array.from(this.#whole),
    };
  }
}

/** The last position that the token at a position of a piece sees. */
function lastSeen({ start, tokens, ahead = 0 }: Piece): (position: number) => number {
  return (position) => Math.min(position + ahead, start + tokens - 1);
}

/** The ranges of this length that hold what the token at `position` sees, up to `last`. */
function rangesOf(
  { position, last }: { readonly position: number; readonly last: number },
  sinks: number,
  window: number,
  length: number,
): Ranges {
  const withSinks = Math.ceil(Math.min(sinks, position + 1) / length);
  const first = Math.floor(Math.max(0, position - window + 1) / length);
  return {
    length,
    sinks: withSinks,
    first: Math.max(first, withSinks),
    last: Math.floor(last / length),
  };
}

function areEqual(a: Ranges, b: Ranges): boolean {
  return a.length === b.length && a.sinks === b.sinks && a.first === b.first && a.last === b.last;
}

function numbersOf({ sinks, first, last }: Ranges): number[] {
  const behind = Math.max(0, last - first + 1);
  return Array.from({ length: sinks + behind }, (_, i) => (i < sinks ? i : first + i - sinks));
}

/** The slot of a position, or that of the next one that is held. */
function slotOf(entries: Piece["entries"], pageSize: number, position: number): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle]!.first + pageSize > position) high = middle;
    else low = middle + 1;
  }
  const entry = entries[low];
  return low * pageSize + (entry ? Math.max(0, position - entry.first) : 0);
}
