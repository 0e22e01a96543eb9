/**
 * Pair merging, the heart of both kinds of tokenizer: of all neighbours that may be joined, the
 * pair of the lowest rank goes first, the leftmost among equals, until none may be joined any more.
 */

export interface Merge {
  /** Lower goes first. */
  readonly rank: number;
  /** What the two neighbours become. */
  readonly symbol: number;
}

/** The merge that joins two neighbouring symbols, if there is one. */
export type FindMerge = (left: number, right: number) => Merge | undefined;

/** A symbol that is left over, and the units [start, end) that it was made of. */
interface Span {
  readonly symbol: number;
  readonly start: number;
  readonly end: number;
}

/**
 * Joins `units` until nothing can be joined, in O(n log n): candidates wait in a heap, and the
 * symbols form a linked list, so that a run of 200,000 spaces costs no more a character than prose.
 */
export function mergeUnits(units: ArrayLike<number>, find: FindMerge): Span[] {
  const count = units.length;
  const symbols = Int32Array.from(units);
  const previous = symbols.map((_, at) => at - 1);
  const next = symbols.map((_, at) => at + 1);
  /** At each symbol, the merge with the symbol after it. */
  const pending: (Merge | undefined)[] = new Array(count);
  const agenda = new Agenda();

  const consider = (left: number): void => {
    const right = next[left]!;
    const merge = right < count ? find(symbols[left]!, symbols[right]!) : undefined;
    pending[left] = merge;
    if (merge !== undefined) agenda.add(merge.rank, left);
  };

  for (let at = 0; at < count; at++) consider(at);
  while (agenda.advance()) {
    const left = agenda.position;
    const merge = pending[left];
    // Stale: one of the two has been joined with its other neighbour in the meantime.
    if (merge === undefined || merge.rank !== agenda.rank) continue;

    const right = next[left]!;
    const after = next[right]!;
    symbols[left] = merge.symbol;
    next[left] = after;
    if (after < count) previous[after] = left;
    pending[right] = undefined;

    consider(left);
    const before = previous[left]!;
    if (before >= 0) consider(before);
  }

  const spans: Span[] = [];
  for (let start = 0; start < count; start = next[start]!) {
    spans.push({ symbol: symbols[start]!, start, end: next[start]! });
  }
  return spans;
}

/** Positions are below this, ranks below 2^24, so that both fit the 53 bits of one number. */
const POSITIONS = 2 ** 29;

/** A binary heap of (rank, position), each pair packed into one number, smallest first. */
class Agenda {
  readonly #heap: number[] = [];
  rank = 0;
  position = 0;

  add(rank: number, position: number): void {
    const heap = this.#heap;
    const key = rank * POSITIONS + position;
    let at = heap.length;
    heap.push(key);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! <= key) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = key;
  }

  /** Takes the first entry into `rank` and `position`; false when there is none. */
  advance(): boolean {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined) return false;
    const key = heap.pop()!;
    const count = heap.length;
    if (count > 0) {
      let at = 0;
      for (let child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && heap[child + 1]! < heap[child]!) child++;
        if (heap[child]! >= key) break;
        heap[at] = heap[child]!;
        at = child;
      }
      heap[at] = key;
    }
    this.rank = Math.floor(first / POSITIONS);
    this.position = first % POSITIONS;
    return true;
  }
}
