// The lesson of docs/matvec.md: every version computes the product, and the probes compile.

import { expect, test, vi } from "vitest";
import { main } from "../../bench/lesson.ts";

test("all versions agree with the plain decoder", async () => {
  using log = vi.spyOn(console, "log").mockImplementation(() => {});
  using _rounds = vi.spyOn(console, "error").mockImplementation(() => {});
  await main(["--shape", "64,768", "--time", "1", "--json"]);
  const { versions } = JSON.parse(String(log.mock.calls[0]![0])) as {
    readonly versions: readonly { readonly name: string; readonly us: number }[];
  };
  // The last two, and the probes, are for software adapters.
  const numbers = versions.map(({ name }) => /^\d?/.exec(name)![0]).join("");
  expect(numbers).toMatch(/^1234567(89)?$/);
  expect(versions.length).toBe(numbers.length === 9 ? 9 + 3 : 7);
  for (const { name, us } of versions) expect(us, name).toBeGreaterThan(0);
});
