// Where tokens look, as a user asks for it.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { fail, json, succeed, temporaryFolder } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const stories = fileURLToPath(new URL("../fixtures/text/stories.txt", import.meta.url));
const small = ["--model", fixtureModel("stories260K-F32.gguf")];

interface Shown {
  readonly layer: number;
  readonly heads: readonly number[];
  readonly tokens: readonly number[];
  readonly summary: { head: number | "mean"; looks: Record<string, number> }[];
  readonly rows: { query: number; keys: number[]; weights: number[] }[];
}

test("attention: the shipped model rests on its first token, as models with sinks do", async () => {
  const { text } = await succeed(["attention", "--file", stories, "--tokens", "120"]);
  expect(text).toMatch(/^head\s+first token\s+last 16\s+between\s+entropy/);
  // StreamingLLM's finding, in figures: most of what is seen from afar, and more than any other token.
  const favourites = text.slice(text.indexOf("mean weight")).split("\n").slice(2, -1);
  expect(favourites[0]).toMatch(/^"<s>"\s+0\s+0\.[4-9]\d\d$/);
  expect(favourites.length).toBe(8);
});

test("attention: figures, pairs and pictures tell the same of sinks, window and evicted tokens", async () => {
  const [S, W, T, P] = [2, 10, 40, 4];
  const args = ["attention", "--file", stories, ...small, "--json", "--tokens", String(T)];
  const policy = ["--attention", `sinks:${S}+${W}`, "--page", String(P), "--kv", "f32"];
  const files = ["--csv", at("pairs.csv"), "--plot", at("map.png")];
  const shown = await json<Shown>([...args, ...policy, "--layer", "1", "--heads", "0,3", ...files]);
  expect(shown).toMatchObject({ layer: 1, heads: [0, 3] });
  expect(shown.summary.map(({ head }) => head)).toEqual([0, 3, "mean"]);
  for (const { looks } of shown.summary) {
    expect(looks.first! + looks.near! + looks.between!).toBeCloseTo(1, 5);
    expect(looks.entropy).toBeLessThan(Math.log2(S + W));
  }

  const [head, ...lines] = readFileSync(at("pairs.csv"), "utf8").trim().split("\n");
  expect(head).toBe("query,key,state,weight");
  expect(lines.length).toBe((T * (T + 1)) / 2);
  const sums = new Float64Array(T);
  for (const line of lines) {
    const [query, key] = line.split(",").map(Number) as [number, number];
    const [, , state, weight] = line.split(",");
    const near = query - key < W;
    // A page goes, at the step of a query, when that query sees none of it: all its tokens have left the window.
    const gone = query - (Math.floor(key / P) * P + P - 1) >= W && key >= P;
    const expected = key < S ? "sink" : near ? "window" : gone ? "evicted" : "hidden";
    expect(`${line}: ${state}`).toBe(`${line}: ${expected}`);
    if (!near && key >= S) expect(weight).toBe("0");
    sums[query]! += Number(weight);
  }
  for (const sum of sums) expect(sum).toBeCloseTo(1, 5);
  // The eight bytes that every PNG begins with, then the width in its header.
  const png = readFileSync(at("map.png"));
  expect(png.subarray(0, 8).toString("latin1")).toBe("\x89PNG\r\n\x1a\n");
  expect(png.readUInt32BE(16)).toBeGreaterThan(1000);

  await succeed([...args, ...policy, "--plot", at("map.svg")]);
  const svg = readFileSync(at("map.svg"), "utf8");
  for (const text of ["Where does each token look?", "evicted", "held, out of the window"]) {
    expect(svg).toContain(text);
  }
});

test.each([
  [["attention"], /No text: give TEXT/],
  [["attention", "Hello", "--file", stories], /either TEXT or --file FILE/],
  [["attention", ""], /too few tokens/],
  [["attention", "Hello there", "--layer", "99"], /--layer 99/],
  [["attention", "Hello there", "--heads", "0,8"], /--heads 8/],
  [["attention", "Hello there", "--heads", "1,1"], /each head once/],
  [["attention", "Hello there", "--tokens", "0"], /--tokens 0/],
  [["attention", "Hello there", "--plot", "map.gif"], /\.svg or \.png/],
  [["attention", "Hello there", "--csv", "/no/such/folder/a.csv"], /--csv.*no such folder/],
])("%j is refused in one line", async (args, message) => {
  await fail(args, message);
});
