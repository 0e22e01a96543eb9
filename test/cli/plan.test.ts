// dawnstream plan: what it says is what the engine then takes.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { KvType } from "../../src/kernels/attention/kv-types.ts";
import { fail, json, succeed, temporaryFolder } from "../support/cli.ts";
import { loadEngine } from "../support/engine.ts";
import { familyModel } from "../support/families/model.ts";
import { FAMILIES } from "../support/families/recipes.ts";
import { fixtureModel } from "../support/models.ts";

const folder = temporaryFolder();
const model = fixtureModel("stories260K-Q5_0mix.gguf");
/** Its heads are whole blocks. */
const wide = fixtureModel("llama-gqa-F16.gguf");

interface Plan {
  readonly rows: {
    attention: string;
    kv: KvType;
    context: number;
    weights: number;
    weightsByFormat: Record<string, number>;
    cache: number;
    scratch: number;
    total: number;
    bytesPerToken: number;
    tokenReads: number;
  }[];
  readonly fits: { attention: string; kv: string; largestContext: number | string }[];
}

test("plan: the bytes that the engine allocates, for every attention, type and context", async () => {
  const plot = join(folder, "plan.svg");
  const args = ["plan", wide, "--context", "64,200", "--attention", "full,sinks:4+28"];
  const { rows } = await json<Plan>([
    ...args,
    "--kv",
    "f16,q4_0,f32,q8_0",
    "--json",
    "--plot",
    plot,
  ]);
  expect(rows.length).toBe(16);
  for (const { attention, kv, context, weights, weightsByFormat, total, ...row } of rows) {
    const policy = attention === "full" ? { kind: "full" as const } : undefined;
    const sinks = { kind: "sinks", sinks: 4, window: 28 } as const;
    const engine = await loadEngine(wide, { attention: policy ?? sinks, kv, context });
    expect(engine.usage.bytes).toBe(total);
    expect(engine.loaded.weightBytes).toBe(weights);
    expect(Object.values(weightsByFormat).reduce((a, b) => a + b, 0)).toBe(weights);
    // 2 L G E numbers a token: 2 x 2 x 4 x 32
    expect(row.bytesPerToken).toBe(512 * { f32: 4, f16: 2, q8_0: 36 / 32, q4_0: 20 / 32 }[kv]);
    expect(total).toBe(weights + row.cache + row.scratch);
    expect(row.tokenReads).toBe(row.bytesPerToken * (attention === "full" ? context : 32));
    await engine.close();
  }
  expect(readFileSync(plot, "utf8")).toMatch(/^<svg.*context \(tokens\)/s);
});

test("plan and inspect --cache-tokens: room for the tokens of several texts", async () => {
  const cacheTokens = 1000;
  const engine = await loadEngine(wide, { context: 64, cacheTokens });
  const args = [wide, "--context", "64", "--cache-tokens", `${cacheTokens}`, "--json"];
  const { rows } = await json<Plan>(["plan", ...args]);
  expect(rows[0]!.total).toBe(engine.usage.bytes);
  const { memory } = await json<{ memory: { total: number; cache: number } }>(["inspect", ...args]);
  expect(memory).toMatchObject({ total: engine.usage.bytes, cache: rows[0]!.cache });
  // 63 pages of 16 tokens hold 1000, and 4 a context: the pages alone make the difference.
  const { rows: one } = await json<Plan>(["plan", wide, "--context", "64", "--json"]);
  const pages = (rows[0]!.cache - one[0]!.cache) / (16 * rows[0]!.bytesPerToken);
  expect(pages).toBeGreaterThanOrEqual(63 - 4);
  expect(pages).toBeLessThan(1.1 * (63 - 4)); // tables and rotations grow, too, but little
});

// Layers with windows of their own, fused tensors, and LayerNorms: all families are in family-plans.test.ts.
test.each(["gemma3", "phi3", "cohere2"] as const)(
  "plan and inspect: the bytes that the engine allocates for %s",
  async (name) => {
    const path = join(folder, `${name}.gguf`);
    const bytes = familyModel(FAMILIES[name]);
    writeFileSync(path, bytes);
    for (const [context, kv] of [
      [64, "f16"],
      [256, "q8_0"],
    ] as const) {
      const options = { context, kv, chunk: 32 };
      const engine = await loadEngine(bytes, options);
      const args = [path, "--context", `${context}`, "--kv", kv, "--chunk", "32", "--json"];
      const { rows } = await json<Plan>(["plan", ...args]);
      expect(rows[0]).toMatchObject({
        total: engine.usage.bytes,
        weights: engine.loaded.weightBytes,
      });
      const { memory } = await json<{ memory: { total: number } }>(["inspect", ...args]);
      expect(memory.total).toBe(engine.usage.bytes);
      await engine.close();
    }
  },
);

test("plan --memory: the largest context that fits, and not one token more", async () => {
  const at = async (context: number) => {
    const { rows } = await json<Plan>(["plan", model, "--context", `${context}`, "--json"]);
    return rows[0]!.total;
  };
  const memory = (await at(3000)) + 1;
  const args = ["plan", model, "--attention", "full,window:32", "--memory", `${memory}`];
  const { fits } = await json<Plan>([...args, "--json"]);
  const largest = fits[0]!.largestContext as number;
  expect(largest).toBeGreaterThanOrEqual(3000);
  expect(await at(largest)).toBeLessThanOrEqual(memory);
  expect(await at(largest + 1)).toBeGreaterThan(memory);
  expect(fits[1]!.largestContext).toBe("any");

  const { text } = await succeed([...args, "--context", "64"]);
  expect(text).toContain(`full, f16: a context of ${largest} tokens in `);
  expect(text).toContain("window:32, f16: a text of any length in ");
  const small = await succeed(["plan", model, "--memory", "1kB", "--context", "64"]);
  expect(small.text).toContain("not even one token in 1.0 kB");
});

test("plan: mistakes", async () => {
  await fail(["plan", model, "--memory", "8 apples"], /--memory "8 apples".*such as 8GiB/);
  await fail(
    ["plan", model, "--kv", "f16,q8"],
    /--kv "q8": expected one of f32, f16, q8_0, q4_0; did you mean q8_0/,
  );
  const blocks =
    /q8_0 pages need heads of a multiple of 32 numbers; this model's have 8: use f16 or f32/;
  await fail(["plan", model, "--kv", "f16,q8_0"], blocks);
  await fail(["plan", model, "--context", "0"], /at least 1 token/);
  await fail(["plan", model, "--attention", "full,sometimes"], /Invalid --attention "sometimes"/);
  await fail(["plan", join(folder, "none.gguf")], /none\.gguf/);
});
