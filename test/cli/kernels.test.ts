// `dawnstream kernels`: names and formats, and a kernel's shaders as they are put together.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { KERNELS } from "../../src/laboratory/kernels/kernel-cases.ts";
import type { ShownKernel } from "../../src/laboratory/kernels/show-kernel.ts";
import { ROOT } from "../support/build.ts";
import { fail, json, succeed } from "../support/cli.ts";

test("lists every kernel with its formats", async () => {
  const { text } = await succeed(["kernels"]);
  for (const kernel of KERNELS) expect(text).toMatch(new RegExp(`^${kernel}: `, "m"));
  const kernels = await json<{ kernel: string; formats: string[] }[]>(["kernels", "--json"]);
  expect(kernels.map(({ kernel }) => kernel)).toEqual(KERNELS);
  expect(kernels.find(({ kernel }) => kernel === "attention")!.formats).toContain("q8_0");
});

const withoutComments = (text: string) =>
  text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("//"));

test("shows a kernel: every part under the name of its file", async () => {
  const asked = ["kernels", "show", "matvec", "--format", "q6_k", "--shape", "256,256"];
  const [{ text }, shown] = await Promise.all([
    succeed(asked),
    json<ShownKernel>([...asked, "--json"]),
  ]);
  expect(shown).toMatchObject({ kernel: "matvec", format: "Q6_K", shape: "[256, 256]" });
  expect(shown.shaders.length).toBe(1);
  const [{ name, parts, overrides }] = shown.shaders as [ShownKernel["shaders"][number]];
  expect(name).toContain("q6-k");
  expect(text).toMatch(/^\/\/ matvec Q6_K \[256, 256\] on /);
  expect(text).toContain(`// shader ${name}, with ROWS = ${overrides.ROWS}`);
  expect(text.match(/^\/\/ ---- .*$/gm)).toEqual(parts.map(({ file }) => `// ---- ${file}`));
  // What is printed is WGSL: the parts and comments, no more and no less.
  const compiled = parts.map((part) => part.text).join("\n");
  expect(withoutComments(text)).toEqual(withoutComments(compiled));
  const enabled = /^enable [\w, ]+; ?/gm;
  for (const { file, text } of parts) {
    const page = readFileSync(join(ROOT, file), "utf8");
    expect(text.replace(enabled, "").trim()).toBe(page.replace(enabled, "").trim());
  }
});

test.each([
  [["matvek"], /no kernel "matvek": expected matvec, .*; did you mean matvec\?/],
  [["matvec", "--format", "Q7"], /matvec takes no format "Q7": expected F32, /],
  [["attention", "--shape", "256,256"], /attention takes no --shape/],
  [["matmul", "--tokens", "0"], /--tokens 0: expected a number from 1/],
  [["matvec", "--shape", "3"], /Expected N,K/],
])("show %j is refused in one line", async (args, message) => {
  await fail(["kernels", "show", ...args], message);
});
