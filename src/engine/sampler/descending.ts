/**
 * Wide enough that few blocks have to be kept in order, narrow enough that one is searched quickly.
 */
const BLOCK = 64;

/**
 * The indices of `keys` from the largest key to the smallest, equal keys in their own order.
 *
 * It sorts only as far as it is read: a heap holds the largest key of each block, and a block is
 * searched again only after its key was taken. So the forty likeliest of 32,000 tokens cost little
 * more than one pass over all tokens.
 */
export function* descending(keys: Float64Array): Generator<number, void, undefined> {
  let size = Math.ceil(keys.length / BLOCK);
  const heap = new Uint32Array(size); // the blocks with keys left, the one with the largest on top
  const heads = new Int32Array(size); // a block's largest key not yet taken: its index
  const headKeys = new Float64Array(size);
  for (let block = 0; block < size; block++) {
    heap[block] = block;
    heads[block] = nextInBlock(keys, block, Number.POSITIVE_INFINITY, -1);
    headKeys[block] = keys[heads[block]!]!;
  }
  for (let slot = (size >> 1) - 1; slot >= 0; slot--) sink(heap, size, slot, headKeys);

  while (size > 0) {
    const block = heap[0]!;
    const head = heads[block]!;
    yield head;
    const next = nextInBlock(keys, block, headKeys[block]!, head);
    if (next < 0) {
      heap[0] = heap[--size]!;
    } else {
      heads[block] = next;
      headKeys[block] = keys[next]!;
    }
    sink(heap, size, 0, headKeys);
  }
}

/**
 * The index of the key of a block that follows `last` (whose key is `lastKey`) in descending order,
 * or -1.
 */
function nextInBlock(keys: Float64Array, block: number, lastKey: number, last: number): number {
  const end = Math.min(keys.length, (block + 1) * BLOCK);
  let best = -1;
  let bestKey = Number.NEGATIVE_INFINITY;
  for (let i = block * BLOCK; i < end; i++) {
    const key = keys[i]!;
    const follows = key < lastKey || (key === lastKey && i > last);
    if (follows && (key > bestKey || best < 0)) {
      best = i;
      bestKey = key;
    }
  }
  return best;
}

/**
 * Moves the block at `slot` down until neither of its children has a larger key, or an equal one
 * and comes first.
 */
function sink(heap: Uint32Array, size: number, slot: number, keys: Float64Array): void {
  const block = heap[slot]!;
  for (;;) {
    let child = 2 * slot + 1;
    if (child >= size) break;
    if (child + 1 < size && precedes(heap[child + 1]!, heap[child]!, keys)) child++;
    if (precedes(block, heap[child]!, keys)) break;
    heap[slot] = heap[child]!;
    slot = child;
  }
  heap[slot] = block;
}

function precedes(a: number, b: number, keys: Float64Array): boolean {
  return keys[a]! > keys[b]! || (keys[a] === keys[b] && a < b);
}

/** The first `count` of them, or all if there are fewer. */
export function take(indices: Iterable<number>, count: number): number[] {
  return count === 0 ? [] : takeUntil(indices, () => true, count);
}

/**
 * Those up to the first for which `enough` holds, that one included, and no fewer than `atLeast`.
 */
export function takeUntil(
  indices: Iterable<number>,
  enough: (index: number) => boolean,
  atLeast: number,
): number[] {
  const taken: number[] = [];
  for (const index of indices) {
    taken.push(index);
    if (enough(index) && taken.length >= atLeast) break;
  }
  return taken;
}
