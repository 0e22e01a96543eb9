// Page pool and page table under arbitrary use, against a model that remembers every token.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PagePool } from "../../src/context/cache/page-pool.ts";
import { type PageCopy, PageTable } from "../../src/context/cache/page-table.ts";
import {
  type AttentionPolicy,
  attentionPolicy,
  FULL_ATTENTION,
  isVisible,
  pagesNeeded,
} from "../../src/context/positions/attention-policy.ts";
import { CapacityError } from "../../src/kernels/gpu/device.ts";

describe("page pool", () => {
  test("gives page 0 first, and a freed page again", () => {
    const pool = new PagePool(4);
    expect(pool.allocate(3)).toEqual([0, 1, 2]);
    expect(pool.allocate(0)).toEqual([]);
    pool.release(1);
    expect(pool.allocate(2).sort()).toEqual([1, 3]);
    expect(pool.free).toBe(0);
  });

  test("gives all that were asked for or none, and says how many there are", () => {
    const pool = new PagePool(4);
    pool.allocate(3);
    expect(() => pool.allocate(2)).toThrow(CapacityError);
    expect(() => pool.allocate(2)).toThrow(/2 more pages are needed, 1 of 4 are free/);
    expect(pool.free).toBe(1);
    expect(pool.allocate(1)).toEqual([3]);
  });

  test("frees a shared page when its last user lets go", () => {
    const pool = new PagePool(2);
    const [page] = pool.allocate(1) as [number];
    pool.retain(page);
    expect(pool.users(page)).toBe(2);
    pool.release(page);
    expect(pool.free).toBe(1);
    pool.release(page);
    expect([pool.free, pool.users(page)]).toEqual([2, 0]);
    expect(() => pool.release(page)).toThrow(/freed twice/);
    expect(() => pool.retain(page)).toThrow(/cannot be shared/);
  });
});

/** What a table and its pool look like from outside. */
function stateOf(pool: PagePool, tables: readonly PageTable[]) {
  return {
    free: pool.free,
    users: Array.from({ length: pool.size }, (_, page) => pool.users(page)),
    tables: tables.map(({ length, entries }) => ({ length, entries: [...entries] })),
  };
}

type Action =
  | { do: "append"; table: number; count: number }
  | { do: "truncate"; table: number; back: number }
  | { do: "clear"; table: number }
  | { do: "share"; table: number }
  | { do: "unshare" };

const actions = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        do: fc.constant("append" as const),
        table: fc.nat(2),
        count: fc.oneof(fc.constant(1), fc.nat(13)),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant("truncate" as const),
        table: fc.nat(2),
        back: fc.integer({ min: -1, max: 12 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("clear" as const), table: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("share" as const), table: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.constant({ do: "unshare" as const }) },
  ) as fc.Arbitrary<Action>,
  { minLength: 10, maxLength: 60, size: "max" },
);

const policies: fc.Arbitrary<AttentionPolicy> = fc.oneof(
  fc.constant(FULL_ATTENTION),
  fc
    .record({ sinks: fc.nat(9), window: fc.integer({ min: 1, max: 20 }) })
    .map(({ sinks, window }) => attentionPolicy({ kind: "sinks", sinks, window })),
);

describe("page table", () => {
  test("survives any use: pages are free or mapped, slots are right, a failure changes nothing", () => {
    let failures = 0;
    let evictions = 0;
    let copies = 0;
    const truncations = { done: 0, refused: 0 };
    fc.assert(
      fc.property(
        policies,
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 24 }),
        actions,
        (policy, P, pages, list) => {
          const pool = new PagePool(pages);
          const tables = [0, 1, 2].map(() => new PageTable(pool, policy, P));
          // The model: which (table, position) each slot holds, and pages retained from outside.
          const slotOf = tables.map(() => new Map<number, number>());
          const retained: number[] = [];

          for (const action of list) {
            if (action.do === "append") {
              const { table: t, count } = action;
              const table = tables[t]!;
              const before = stateOf(pool, tables);
              const start = table.length;
              let slots: Uint32Array;
              let copied: readonly PageCopy[];
              try {
                ({ slots, copies: copied } = table.append(count));
              } catch (error) {
                expect(error).toBeInstanceOf(CapacityError);
                expect(stateOf(pool, tables)).toEqual(before);
                failures++;
                continue;
              }
              evictions += before.tables[t]!.entries.filter(
                ({ page, first }) =>
                  !table.entries.some((e) => e.page === page && e.first === first),
              ).length;
              expect(table.length).toBe(start + count);
              expect(slots.length).toBe(count);
              // What is written to a page that another user reads is written to a copy of it.
              const open = Math.floor(start / P) * P;
              for (const { from, to } of copied) {
                copies++;
                expect(before.tables[t]!.entries.at(-1)).toEqual({ page: from, first: open });
                for (let key = open; key < start; key++) {
                  expect(slotOf[t]!.get(key)).toBe(from * P + (key - open));
                  slotOf[t]!.set(key, to * P + (key - open));
                }
              }
              const isAlone = start % P === 0 || count === 0 || copied.length === 1;
              if (!isAlone)
                expect(pool.users(table.entries.find(({ first }) => first === open)!.page)).toBe(1);
              for (const [i, slot] of slots.entries()) slotOf[t]!.set(start + i, slot);
              // Whatever the oldest query of this step can see is held, where it was put.
              for (let key = 0; key < table.length; key++) {
                if (key < start && !isVisible(policy, key, start)) continue;
                const entry = table.entries.find(({ first }) => first <= key && key < first + P);
                expect(entry, `position ${key}`).toBeDefined();
                expect(entry!.page * P + (key - entry!.first)).toBe(slotOf[t]!.get(key));
              }
              // And no more than the policy pays for.
              expect(table.entries.length).toBeLessThanOrEqual(
                pagesNeeded(policy, table.length, Math.max(1, count), P),
              );
            } else if (action.do === "truncate") {
              const table = tables[action.table]!;
              const length = Math.max(0, table.length - action.back);
              const seen = Array.from({ length }, (_, key) => key).filter((key) =>
                isVisible(policy, key, length),
              );
              const lost = seen.some(
                (key) => !table.entries.some(({ first }) => first <= key && key < first + P),
              );
              const before = stateOf(pool, tables);
              const wasTaken = table.truncate(length);
              if (wasTaken) {
                truncations.done++;
                expect(lost || action.back < 0).toBe(false);
                expect(table.length).toBe(length);
                expect(table.entries.every(({ first }) => first < length)).toBe(true);
              } else {
                truncations.refused++;
                // With a window of one, a page that is not full must be there to be filled, though nothing in it is seen.
                expect(lost || action.back < 0 || length % P > 0).toBe(true);
                expect(stateOf(pool, tables)).toEqual(before);
              }
            } else if (action.do === "clear") {
              tables[action.table]!.clear();
              slotOf[action.table]!.clear();
              expect(tables[action.table]!.length).toBe(0);
              expect(tables[action.table]!.entries).toEqual([]);
            } else if (action.do === "share") {
              const entry = tables[action.table]!.entries[0];
              if (entry) {
                pool.retain(entry.page);
                retained.push(entry.page);
              }
            } else {
              const page = retained.pop();
              if (page !== undefined) pool.release(page);
            }

            // Every page has as many users as hold it: none is free and mapped, none mapped twice unasked.
            const users = new Array<number>(pages).fill(0);
            for (const { page } of tables.flatMap(({ entries }) => [...entries])) users[page]! += 1;
            expect(Math.max(0, ...users)).toBeLessThanOrEqual(1);
            for (const page of retained) users[page]! += 1;
            expect(users.map((_, page) => pool.users(page))).toEqual(users);
            expect(pool.free).toBe(users.filter((count) => count === 0).length);
            for (const { entries } of tables) {
              const firsts = entries.map(({ first }) => first);
              expect(firsts).toEqual([...new Set(firsts)].sort((a, b) => a - b));
              for (const first of firsts) expect(first % P).toBe(0);
            }
          }
          for (const table of tables) table.clear();
          for (const page of retained) pool.release(page);
          expect(pool.free).toBe(pages);
        },
      ),
      { numRuns: 400, seed: 1 },
    );
    // The property is about these; without them it would say nothing.
    expect(truncations.done).toBeGreaterThan(100);
    expect(truncations.refused).toBeGreaterThan(100);
    expect(failures).toBeGreaterThan(100);
    expect(evictions).toBeGreaterThan(100);
    expect(copies).toBeGreaterThan(20);
  });

  test("an endless stream stays within pagesNeeded, and goes on when the pool is exactly that", () => {
    fc.assert(
      fc.property(
        fc.nat(9),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 12 }),
        (sinks, window, P, chunk) => {
          const policy = attentionPolicy({ kind: "sinks", sinks, window });
          const pool = new PagePool(pagesNeeded(policy, 10 ** 6, chunk, P));
          const table = new PageTable(pool, policy, P);
          for (let step = 0; step < 60; step++) table.append(1 + ((step * 7) % chunk));
          expect(pool.size - pool.free).toBe(table.entries.length);
        },
      ),
    );
  });

  test("pages that are freed by a step serve the same step", () => {
    // A window of 2 in pages of 2: two pages suffice while the third is written.
    const pool = new PagePool(2);
    const table = new PageTable(pool, attentionPolicy({ kind: "window", window: 2 }), 2);
    table.append(4);
    expect(pool.free).toBe(0);
    expect([...table.append(1).slots]).toEqual([0]); // position 4 goes to page 0, which held positions 0 and 1
    expect(table.entries).toEqual([
      { page: 1, first: 2 },
      { page: 0, first: 4 },
    ]);
  });

  test("a pool that is short asks for pages before it gives up", () => {
    const pool = new PagePool(4);
    const [idle, table] = [0, 1].map(
      () => new PageTable(pool, attentionPolicy({ kind: "full" }), 2),
    );
    idle!.append(5);
    const asked: number[] = [];
    pool.onShort = (count) => {
      asked.push(count);
      idle!.clear();
    };
    table!.append(2);
    expect(asked).toEqual([]);
    table!.append(4);
    expect(asked).toEqual([2]);
    expect(() => table!.append(4)).toThrow(CapacityError);
    expect([table!.length, pool.free]).toEqual([6, 1]);
  });

  test("a page that others use is not counted as freed", () => {
    const pool = new PagePool(2);
    const table = new PageTable(pool, attentionPolicy({ kind: "window", window: 2 }), 2);
    table.append(4);
    pool.retain(0);
    expect(() => table.append(1)).toThrow(CapacityError);
    expect(table.length).toBe(4);
    pool.release(0);
    table.append(1);
    expect(table.length).toBe(5);
  });
});
