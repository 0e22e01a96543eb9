// The lesson of docs/matvec.md: every version computes the product, and the probes compile.

import { expect, test, vi } from "vitest";
import { main } from "../../bench/lesson.ts";

test("all versions agree with the plain decoder", async () => {
  using log = vi.spyOn(console, "log").mockImplementation(() => {});
  using _rounds = vi.spyOn(console, "error").mockImplementation(() => {});
  await main(["--shape", "64,2048", "--time", "1", "--json"]); // several rounds over a row, in every version
  const { versions } = JSON.parse(String(log.mock.calls[0]![0])) as {
    readonly versions: readonly { readonly name: string; readonly us: number }[];
  };
  // The last three, and the probes, are for software adapters.
  const numbers = versions.flatMap(({ name }) =>
    /^\d/.test(name) ? Number.parseInt(name, 10) : [],
  );
  const all = Array.from({ length: 10 }, (_, i) => i + 1);
  expect([all, all.slice(0, 7)]).toContainEqual(numbers);
  expect(versions.length).toBe(numbers.length === 10 ? 10 + 3 : 7);
  for (const { name, us } of versions) expect(us, name).toBeGreaterThan(0);
});
