import { CapacityError } from "../../kernels/gpu/device.ts";

/** A sequence that pages are kept for. */
export interface Claim {
  /** Pages that it may still take when it likes. */
  readonly promised: number;
}

/** Physical pages: which are free, and how many sequences use each of the others. Integers only, no GPU. */
export class PagePool {
  readonly size: number;
  /**
   * Asked for pages when more are needed than are free: what holds some that no request waits for gives them back, until so
   * many are free.
   */
  onShort: (count: number) => void = () => {};
  /** Called when pages, or the promise of some, have been given back. */
  onFree: () => void = () => {};
  readonly #claims = new Set<Claim>();
  readonly #free: number[];
  readonly #users: Uint32Array;

  constructor(size: number) {
    this.size = size;
    // Popped from the end: page 0 goes first.
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
    this.#users = new Uint32Array(size);
  }

  get free(): number {
    return this.#free.length;
  }

  /** How many sequences have pages promised. */
  get claims(): number {
    return this.#claims.size;
  }

  /** Free pages that are promised to nothing but this claim. */
  availableTo(claim?: Claim): number {
    return this.#free.length - this.#promisedBeside(claim);
  }

  /** Keeps free what the claim has promised, as long as it is not disclaimed: there have to be as many. */
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

  /** Sees to it that `count` pages are free for a sequence, or throws a `CapacityError`. */
  require(count: number, claim?: Claim): void {
    const promised = this.#promisedBeside(claim);
    if (count + promised > this.#free.length) this.onShort(count + promised);
    if (count + promised > this.#free.length) {
      throw new CapacityError(
        `The cache is full: ${count} more pages are needed, ${this.#free.length - promised} of ${this.size} are free. ` +
          "Give a larger context, more sequences, or an attention window that forgets.",
      );
    }
  }

  /** `count` free pages, or a `CapacityError` and none. */
  allocate(count: number, claim?: Claim): number[] {
    this.require(count, claim);
    const pages = this.#free.splice(this.#free.length - count, count).reverse();
    for (const page of pages) this.#users[page] = 1;
    return pages;
  }

  /** One more sequence uses the page. */
  retain(page: number): void {
    if (!this.#users[page]) throw new Error(`page ${page} is free and cannot be shared`);
    this.#users[page]! += 1;
  }

  /** One sequence less uses the page; the last one frees it. */
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
