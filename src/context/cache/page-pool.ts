import { CapacityError } from "../../kernels/device.ts";

/** Physical pages: which are free, and how many sequences use each of the others. Integers only, no GPU. */
export class PagePool {
  readonly size: number;
  /**
   * Asked for pages when more are needed than are free: whoever holds some that nobody waits for gives them back, until so
   * many are free.
   */
  onShort: (count: number) => void = () => {};
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

  /** Sees to it that `count` pages are free, or throws a `CapacityError`. */
  require(count: number): void {
    if (count > this.#free.length) this.onShort(count);
    if (count > this.#free.length) {
      throw new CapacityError(
        `The cache is full: ${count} more pages are needed, ${this.#free.length} of ${this.size} are free. ` +
          "Give a larger context, more sequences, or an attention window that forgets.",
      );
    }
  }

  /** `count` free pages, or a `CapacityError` and none. */
  allocate(count: number): number[] {
    this.require(count);
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
    if (this.#users[page] === 0) this.#free.push(page);
  }

  /** How many sequences use a page. */
  users(page: number): number {
    return this.#users[page]!;
  }
}
