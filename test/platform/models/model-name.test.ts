// Names of models as users type them, and what is none.

import { describe, expect, test } from "vitest";
import { UserError } from "../../../src/index.ts";
import { hubAddress } from "../../../src/platform/models/hub.ts";
import { addressPath } from "../../../src/platform/models/model-cache.ts";
import {
  isStorable,
  type ModelName,
  parseModelName,
  shownName,
} from "../../../src/platform/models/model-name.ts";

const HUB = new URL("https://huggingface.co/");
const parse = (name: string) => parseModelName(name, HUB);

test.each<[string, Partial<ModelName>]>([
  ["hf:owner/repo", { repo: "owner/repo" }],
  ["hf:Owner-1/Repo_2.5-GGUF", { repo: "Owner-1/Repo_2.5-GGUF" }],
  ["HF:owner/repo:Q4_K_M", { repo: "owner/repo", quant: "Q4_K_M" }],
  ["hf:owner/repo:UD-Q4_K_XL", { repo: "owner/repo", quant: "UD-Q4_K_XL" }],
  ["hf:owner/repo/a.gguf", { repo: "owner/repo", file: "a.gguf" }],
  ["hf:owner/repo/Q4/a b-1.gguf", { repo: "owner/repo", file: "Q4/a b-1.gguf" }],
])("%s", (name, expected) => {
  expect(parse(name)).toEqual({ kind: "hub", ...expected });
  expect(shownName(parse(name)!)).toBe(name.replace("HF", "hf"));
});

test.each([
  ...["hf:", "hf:owner", "hf:owner/", "hf:/repo", "hf:owner/repo/", "hf:owner/repo:", "hf:a/b:c:d"],
  ...[
    "hf:../repo",
    "hf:owner/..",
    "hf:.owner/repo",
    "hf:owner/repo.",
    "hf:ow ner/repo",
    "hf:a/con",
  ],
  ...["hf:owner/repo/model.bin", "hf:owner/repo/../x.gguf", "hf:owner/repo//x.gguf", "hf:aux/b"],
  ...["hf:owner/repo/.x.gguf", "hf:owner/repo/C:\\x.gguf", "hf:owner/repo:Q4/../x", "hf:a\n/b"],
  `hf:owner/${"x".repeat(97)}`,
])("%j is refused and quoted", (name) => {
  expect(() => parse(name)).toThrow(UserError);
  expect(() => parse(name)).toThrow(/^Invalid model "hf:.*: expected [^\n]+\.$/);
});

describe("addresses", () => {
  test("of a file", () => {
    const name = parse("https://example.com/models/a.gguf?x=1#part");
    expect(name).toMatchObject({ kind: "address" });
    expect(shownName(name!)).toBe("https://example.com/models/a.gguf");
  });

  test.each([
    "https://huggingface.co/owner/repo/blob/main/Q4/a.gguf",
    "https://huggingface.co/owner/repo/resolve/main/Q4/a.gguf?download=true",
  ])("of the hub: %s", (address) => {
    expect(parse(address)).toEqual({ kind: "hub", repo: "owner/repo", file: "Q4/a.gguf" });
  });

  test.each([
    ["http://example.com/a.gguf", /must begin with https:\/\/; .*"http:\/\/example\.com\/a\.gguf"/],
    ["http://127.0.0.1.example.com/a.gguf", /must begin with https/],
    ["http://localhost.example.com/a.gguf", /must begin with https/],
    ["https://example.com/", /expected the address of a \.gguf file/],
    ["https://example.com/a.gguf/", /expected the address of a \.gguf file/],
    ["https://example.com/a.bin", /expected the address of a \.gguf file/],
    ["https://example.com/..%2Fa.gguf", /expected the address of a \.gguf file/],
    ["https://example.com/..%5ca.gguf", /expected the address of a \.gguf file/],
    ["https://example.com/%00a.gguf", /expected the address of a \.gguf file/],
    ["https://huggingface.co/owner/repo/resolve/main/..%2f..%2fa.gguf", /expected the name of a/],
    ["https://", /is no URL/],
  ])("%s is refused", (address, says) => {
    expect(() => parse(address)).toThrow(UserError);
    expect(() => parse(address)).toThrow(says);
  });

  test("with a password are refused, which is not shown", () => {
    const attempt = () => parse("https://user:hunter2@example.com/a.gguf");
    expect(attempt).toThrow(/must not hold a user name or a password\.$/);
    expect(attempt).not.toThrow(/hunter2/);
  });

  test("http is for this machine", () => {
    for (const host of ["localhost", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080"]) {
      expect(parse(`http://${host}/a.gguf`)).toMatchObject({ kind: "address" });
    }
  });

  test("lie in folders without colons", () => {
    for (const address of ["http://[::1]:8080/a.gguf", "https://h:8443/x/a.gguf?y"]) {
      const path = addressPath(new URL(address));
      expect(path).toMatch(/models\/(http|https)\/[\w./-]+\/a\.gguf$/);
    }
  });
});

test("everything else is a path", () => {
  for (const path of ["a.gguf", "./hf:a/b", "hf/a/b", "C:\\a.gguf", "ftp://a/b.gguf", "", "hf"]) {
    expect(parse(path)).toBeUndefined();
  }
});

test("HF_ENDPOINT is the hub", () => {
  const of = (HF_ENDPOINT?: string) => hubAddress({ HF_ENDPOINT }).href;
  expect(of()).toBe("https://huggingface.co/");
  expect(of("")).toBe("https://huggingface.co/");
  expect(of("https://mirror.example/hf")).toBe("https://mirror.example/hf/");
  expect(of("http://localhost:8080/ ")).toBe("http://localhost:8080/");
  for (const wrong of ["mirror", "http://mirror.example", "https://a:secret@b", "ftp://a"]) {
    expect(() => of(wrong)).toThrow(/^HF_ENDPOINT (is no URL|must )/);
    expect(() => of(wrong)).not.toThrow(/secret/);
  }
});

test("names of files with letters of any script are stored, if they end in .gguf", () => {
  for (const name of [
    "modèle.gguf",
    "模型/量化.gguf",
    "a+b@c=d,e (1).gguf",
    `${"x".repeat(175)}.gguf`,
  ]) {
    expect(isStorable(name)).toBe(true);
  }
  for (const name of ["a", "a.GGUF", ".gguf", "a.gguf.", `${"é".repeat(90)}.gguf`]) {
    expect(isStorable(name)).toBe(false);
  }
});
