// What documents point at exists: files and folders of the repository, and headings of documents.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT } from "./support/build.ts";

const DOCUMENTS = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "docs/architecture.md",
  "docs/cache.md",
  "docs/context.md",
  "docs/drafts.md",
  "docs/matvec.md",
];

/** Written by commands that the documents show. */
const MADE = ["bench/gpu-pack/run.sh"];

const textOf = (document: string) => readFileSync(join(ROOT, document), "utf8");

/** Where the links of a document go, with anchors, but not those to the web. */
function linksOf(document: string): string[] {
  const links = [...textOf(document).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
  return links.filter((target) => !/^https?:/.test(target));
}

/** Paths from the root of the repository that text and commands name; not those with a placeholder in capitals. */
function pathsOf(document: string): string[] {
  const named = textOf(document).replaceAll(/\]\([^)]*\)/g, "]");
  const paths = /(?<![\w/.-])(?:src|test|bench|scripts|docs|examples|models)\/[\w./-]*\w/g;
  return [...named.matchAll(paths)]
    .map(([path]) => path)
    .filter((path) => !/[A-Z]{4}/.test(path) && !MADE.includes(path));
}

/** The anchor of a heading, as GitHub makes it. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\w\s-]/g, "")
    .trim()
    .replaceAll(/\s/g, "-");

describe.each(DOCUMENTS)("%s", (document) => {
  test("links go to files, folders and headings that there are", () => {
    const broken = linksOf(document).filter((link) => {
      const [path, anchor] = link.split("#");
      const target = path === "" ? document : join(dirname(document), path!);
      if (!existsSync(join(ROOT, target))) return true;
      const headings = [...(anchor ? textOf(target) : "").matchAll(/^#+ (.*)$/gm)];
      return anchor !== undefined && !headings.some(([, text]) => anchorOf(text!) === anchor);
    });
    expect(broken).toEqual([]);
  });

  test("paths that it names are there", () => {
    expect(pathsOf(document).filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});

test("the documents name paths and link to files", () => {
  for (const document of ["README.md", "CONTRIBUTING.md", "docs/architecture.md"]) {
    expect(linksOf(document).length).toBeGreaterThan(5);
    expect(pathsOf(document).length).toBeGreaterThan(1);
  }
});
