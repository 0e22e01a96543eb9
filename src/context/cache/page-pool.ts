import { CapacityError } from "../../kernels/gpu/device.ts";

/** A page table that free pages are reserved for. */
export interface Claim {
  /** Reserved pages that it has not taken yet. */
  readonly promised: number;
}

/**
 * Physical pages: which are free, and how many sequences use each of the others. Integers only, no
 * GPU.
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
  readonly #free: number[];
  readonly #users: Uint32Array;

  constructor(size: number) {
    this.size = size;
    // Pages are taken from the end, so page 0 goes first.
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
    this.#users = new Uint32Array(size);
  }

  get free(): number {
    return this.#free.length;
  }

  /** How many page tables have reserved pages. */
  get claims(): number {
    return this.#claims.size;
  }

  /** Free pages that are not reserved for other claims. */
  availableTo(claim?: Claim): number {
    return this.#free.length - this.#promisedBeside(claim);
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
    return promised;
  }

  /** Makes sure that `count` pages are free for a claim, or throws a `CapacityError`. */
  require(count: number, claim?: Claim): void {
    const promised = this.#promisedBeside(claim);
    if (count + promised > this.#free.length) this.onShort(count + promised);
    if (count + promised > this.#free.length) {
      throw new CapacityError(
        `The cache is full: ${count} more pages are needed, ${this.#free.length - promised} of ${this.size} are free. ` +
          "Give a larger context, a larger cacheTokens, or an attention window that forgets.",
      );
    }
  }

  /** Takes `count` free pages; throws a `CapacityError` and takes none if there are fewer. */
  allocate(count: number, claim?: Claim): number[] {
    this.require(count, claim);
    const pages = this.#free.splice(this.#free.length - count, count).reverse();
    for (const page of pages) this.#users[page] = 1;
    return pages;
  }

  /** Counts one more sequence that uses the page. */
  retain(page: number): void {
    if (!this.#users[page]) throw new Error(`page ${page} is free and cannot be shared`);
    this.#users[page]! += 1;
  }

  /** Counts one sequence fewer that uses the page; frees it after the last. */
  release(page: number): void {
    if (!this.#users[page]) throw new Error(`page ${page} is freed twice`);
    this.#users[page]! -= 1;
    if (this.#users[page] !== 0) return;
    this.#free.push(page);
    this.onFree();
  }

  /** How many sequences use a page. */
  users(page: number): number {
    return this.#users[page]!;
  }
}
