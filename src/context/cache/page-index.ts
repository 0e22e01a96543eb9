// Finds pages by their text. A page is found by the tokens in it, those before it, and the policy under
// which all of them were computed: keys and values depend on nothing else. Tokens are compared, not
// hashes. Integers only, no GPU.
//
// The index is a tree: a node is a page of tokens after those of its parent, and has a page in each
// cache group, unless that was taken for other tokens since. A node without any page stays as long
// as a node below it has one.

import { type AttentionPolicy, isForgotten } from "../positions/attention-policy.ts";
import type { PagePool } from "./page-pool.ts";
import type { PageEntry, PageTable } from "./page-table.ts";

/**
 * Tokens of a text that may be found. A text with a window has pages for its last tokens only, but
 * nodes for all: without a limit, those of an endless text would grow without end.
 */
export const FINDABLE_TOKENS = 65536;

/** A page of tokens, after those of its parent. */
export interface PageNode {
  readonly id: number;
  readonly parent: PageNode | undefined;
  /** Its tokens, or the policy of a root. */
  readonly key: string;
  /** How many pages of tokens end with it. */
  readonly depth: number;
  readonly children: Map<string, PageNode>;
  /** The page in each group. */
  readonly pages: (number | undefined)[];
  isRemoved: boolean;
}

/** Pages that hold the beginning of a text. */
export interface FoundPages {
  /** Tokens that they hold, a multiple of P. */
  readonly length: number;
  /** In each group, the pages that later tokens see. */
  readonly entries: readonly (readonly PageEntry[])[];
  readonly node: PageNode;
}

type Tables = readonly Pick<PageTable, "policy" | "pageAt">[];

export class PageIndex {
  readonly #pools: readonly PagePool[];
  /** P */
  readonly #pageSize: number;
  readonly #roots = new Map<string, PageNode>();
  #made = 0;
  #nodes = 0;

  /** `pools` are those of the cache groups. */
  constructor(pools: readonly PagePool[], pageSize: number) {
    this.#pools = pools;
    this.#pageSize = pageSize;
  }

  /** How large it is: pages of tokens that lead to a page of the cache, and roots. */
  get nodes(): number {
    return this.#nodes;
  }

  /**
   * The longest beginning of a text whose pages are in the index, in whole pages and at most `most`
   * tokens, for which each group still has all pages that the next token sees. Undefined if there is
   * none.
   */
  find(
    policy: AttentionPolicy,
    ids: readonly number[],
    most: number,
    tables: Tables,
  ): FoundPages | undefined {
    const P = this.#pageSize;
    const path: PageNode[] = [];
    for (let node = this.#roots.get(keyOf(policy)); node && (path.length + 1) * P <= most; ) {
      node = node.children.get(this.#key(ids, path.length));
      if (node) path.push(node);
    }
    for (; path.length > 0; path.pop()) {
      const entries = tables.map((table, group) => this.#seen(path, table.policy, group));
      if (!entries.every((each) => each !== undefined)) continue;
      return { length: path.length * P, entries, node: path.at(-1)! };
    }
    return undefined;
  }

  /** Whether the page that follows those of a node in a text is known. */
  hasNext(node: PageNode, ids: readonly number[]): boolean {
    return node.children.has(this.#key(ids, node.depth));
  }

  /** The pages in a group that the token after a path sees; undefined if one of them is missing. */
  #seen(
    path: readonly PageNode[],
    policy: AttentionPolicy,
    group: number,
  ): PageEntry[] | undefined {
    const P = this.#pageSize;
    const entries: PageEntry[] = [];
    for (const [i, { pages }] of path.entries()) {
      const first = i * P;
      if (isForgotten(policy, first, first + P - 1, path.length * P)) continue;
      const page = pages[group];
      if (page === undefined) return undefined;
      entries.push({ page, first });
    }
    return entries;
  }

  /**
   * Lets later texts find the whole pages among the first `length` tokens of a text. `from` is the
   * node of those that are found already, which this returns for the next call.
   */
  add(
    policy: AttentionPolicy,
    ids: readonly number[],
    length: number,
    tables: Tables,
    from: PageNode | undefined,
  ): PageNode {
    const P = this.#pageSize;
    const whole = Math.floor(Math.min(length, FINDABLE_TOKENS) / P);
    const root = keyOf(policy);
    let node = from && !from.isRemoved ? from : (this.#roots.get(root) ?? this.#node(root));
    while (node.depth < whole) {
      const first = node.depth * P;
      const key = this.#key(ids, node.depth);
      const next = node.children.get(key) ?? this.#node(key, node);
      for (const [group, table] of tables.entries()) {
        const page = table.pageAt(first);
        if (page !== undefined && next.pages[group] === undefined) this.#keep(next, group, page);
      }
      node = next;
    }
    this.#prune(node); // its pages may have been let go already
    return node;
  }

  /**
   * A name for the page that follows the first `pages` pages of a text, whose node is `from`: the
   * same for two texts that compute the same page next. Undefined if the tokens before it are not
   * found, or if it is not whole.
   */
  nextPage(
    policy: AttentionPolicy,
    ids: readonly number[],
    pages: number,
    from: PageNode | undefined,
  ): string | undefined {
    if ((from?.depth ?? 0) !== pages || ids.length < (pages + 1) * this.#pageSize) return undefined;
    return `${pages === 0 ? keyOf(policy) : from!.id} ${this.#key(ids, pages)}`;
  }

  /** Forgets all pages, whose content is lost: the pools are reset, and no node is used any more. */
  clear(): void {
    this.#roots.clear();
    this.#nodes = 0;
  }

  #keep(node: PageNode, group: number, page: number): void {
    node.pages[group] = page;
    this.#pools[group]!.keep(page, () => {
      node.pages[group] = undefined;
      this.#prune(node);
    });
  }

  /** Removes a node that leads to no page, and those above it that it alone has kept. */
  #prune(from: PageNode): void {
    for (let node: PageNode | undefined = from; node; node = node.parent) {
      if (node.children.size > 0 || node.pages.some((page) => page !== undefined)) return;
      node.isRemoved = true;
      this.#nodes--;
      (node.parent?.children ?? this.#roots).delete(node.key);
    }
  }

  #node(key: string, parent?: PageNode): PageNode {
    const depth = parent ? parent.depth + 1 : 0;
    const node = { parent, key, depth, pages: [], isRemoved: false, id: this.#made++ };
    const made = { ...node, children: new Map<string, PageNode>() };
    (parent?.children ?? this.#roots).set(key, made);
    this.#nodes++;
    return made;
  }

  /** The tokens of a page. A map compares whole keys, so that no two texts are taken for one. */
  #key(ids: readonly number[], page: number): string {
    return ids.slice(page * this.#pageSize, (page + 1) * this.#pageSize).join();
  }
}

/** What a policy sees. */
function keyOf({ sinks, window }: AttentionPolicy): string {
  return `${sinks}+${window}`;
}
