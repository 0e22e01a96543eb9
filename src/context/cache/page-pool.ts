import { CapacityError } from "../../kernels/gpu/device.ts";

/** Parts of pages are sums of 1/n. */
export const ROUNDING = 1e-6;

/** A page table that free pages are reserved for. */
export interface Claim {
  /** Reserved pages that it has not taken yet; parts of them if it shares pages. */
  readonly promised: number;
}

/**
 * Physical pages: how many sequences use each of them, and which may be taken. A page that nothing
 * uses may be kept, so that a later text finds it: kept pages count as free, and are taken after the
 * empty ones, the one first that was used longest ago. Integers only, no GPU.
 */
export class PagePool {
  readonly size: number;
  /**
   * Called with the number of pages needed if fewer are free: idle prefix caches free theirs until
   * there are enough.
   */
  onShort: (count: number) => void = () => {};
  /** Called when pages, or reservations of pages, are given back. */
  onFree: () => void = () => {};
  readonly #claims = new Set<Claim>();
  /** Free pages that hold nothing. */
  #empty: number[];
  /** Free pages that are kept, the one first that was used longest ago. */
  readonly #idle = new Set<number>();
  /** Pages that are found by later texts, and what to call when one of them is found no more. */
  readonly #kept = new Map<number, () => void>();
  readonly #users: Uint32Array;
  #resets = 0;

  constructor(size: number) {
    this.size = size;
    this.#empty = pagesFromTheEnd(size);
    this.#users = new Uint32Array(size);
  }

  /** Pages that no sequence uses. */
  get free(): number {
    return this.#empty.length + this.#idle.size;
  }

  /** Pages that no sequence uses, but a later text may find. */
  get idle(): number {
    return this.#idle.size;
  }

  /** How many page tables have reserved pages. */
  get claims(): number {
    return this.#claims.size;
  }

  /** Free pages that are not reserved for other claims, or are for this one. */
  availableTo(claim?: Claim): number {
    const free = this.free - this.#promisedBeside(claim);
    return claim ? Math.max(free, Math.min(Math.floor(claim.promised), this.free)) : free;
  }

  /**
   * Keeps `claim.promised` pages free for a claim until `disclaim`. The caller checks that the pool
   * has this many.
   */
  claim(claim: Claim): void {
    this.#claims.add(claim);
  }

  disclaim(claim: Claim): void {
    if (this.#claims.delete(claim)) this.onFree();
  }

  #promisedBeside(claim: Claim | undefined): number {
    let promised = 0;
    for (const other of this.#claims) if (other !== claim) promised += other.promised;
    return Math.ceil(promised - ROUNDING);
  }

  /**
   * Makes sure that `count` pages are free for a claim, or throws a `CapacityError`. What was
   * reserved for it, it may take whatever others were promised: after a lost device, texts that
   * shared pages hold none, and together they may have been promised more than there are.
   */
  require(
    count: number,
    claim?: Claim,
    isPromised: boolean = claim !== undefined && count <= claim.promised + ROUNDING,
  ): void {
    const promised = isPromised ? 0 : this.#promisedBeside(claim);
    if (count + promised > this.free) this.onShort(count + promised);
    if (count + promised > this.free) {
      throw new CapacityError(
        `The cache is full: ${count} more pages are needed, ${Math.max(0, this.free - promised)} of ${this.size} are free. ` +
          "Give a larger context, a larger cacheTokens, or an attention window that forgets.",
      );
    }
  }

  /** Takes `count` free pages; throws a `CapacityError` and takes none if there are fewer. */
  allocate(count: number, claim?: Claim): number[] {
    this.require(count, claim);
    return this.take(count);
  }

  /** Takes free pages that `require` has found to be there. */
  take(count: number): number[] {
    return Array.from({ length: count }, () => this.#takeOne());
  }

  #takeOne(): number {
    const [oldest] = this.#idle;
    const page = this.#empty.pop() ?? oldest!;
    this.#idle.delete(page);
    this.forget(page);
    this.#users[page] = 1;
    return page;
  }

  /** Counts one more sequence that uses a page, which is in use or kept. */
  retain(page: number): void {
    if (!this.#users[page] && !this.#idle.delete(page)) {
      throw new Error(`page ${page} is empty and cannot be shared`);
    }
    this.#users[page]! += 1;
  }

  /** Counts one sequence fewer that uses the page; it is free after the last. */
  release(page: number): void {
    if (!this.#users[page]) throw new Error(`page ${page} is freed twice`);
    this.#users[page]! -= 1;
    if (this.#users[page] !== 0) return;
    if (this.#kept.has(page)) this.#idle.add(page);
    else this.#empty.push(page);
    this.onFree();
  }

  /** How many sequences use a page. */
  users(page: number): number {
    return this.#users[page]!;
  }

  /** Keeps a page in use for later texts. `onForgotten` is called when it is found no more. */
  keep(page: number, onForgotten: () => void): void {
    if (!this.#users[page]) throw new Error(`page ${page} is free and cannot be kept`);
    this.#kept.set(page, onForgotten);
  }

  /** Keeps a page no more: its content is about to change, or is lost. */
  forget(page: number): void {
    const onForgotten = this.#kept.get(page);
    if (!onForgotten) return;
    this.#kept.delete(page);
    if (this.#idle.delete(page)) this.#empty.push(page);
    onForgotten();
  }

  /** How often the content of all pages was lost. */
  get resets(): number {
    return this.#resets;
  }

  /** Frees all pages, whatever used them: their content is lost. Reservations stay. */
  reset(): void {
    this.#resets++;
    this.#empty = pagesFromTheEnd(this.size);
    this.#idle.clear();
    this.#kept.clear();
    this.#users.fill(0);
  }
}

/** All pages, so that page 0 is taken first. */
function pagesFromTheEnd(size: number): number[] {
  return Array.from({ length: size }, (_, i) => size - 1 - i);
}
