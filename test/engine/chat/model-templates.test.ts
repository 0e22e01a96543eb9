// The templates of 68 models, and small ones on mappings with other keys than texts and on undefined values, render as
// Jinja2 itself renders them. The oracle is recorded: scripts/jinja-models.py, Jinja2 3.1.6 under the settings of
// transformers.

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { RaisedError, TemplateRuntimeError } from "../../../src/engine/chat/jinja/errors.ts";
import { Template } from "../../../src/engine/chat/jinja/template.ts";
import { limitsFor, TemplateLimitError } from "../../../src/engine/chat/limits.ts";

/** The class of the error that Python ends with. */
type Rendered = string | { readonly error: string };

interface Models {
  readonly contexts: readonly Record<string, unknown>[];
  readonly models: readonly {
    readonly name: string;
    readonly source: string;
    /** By context. */
    readonly rendered: readonly Rendered[];
  }[];
  readonly small: Record<string, unknown>;
  readonly cases: readonly (readonly [source: string, rendered: Rendered])[];
}

const file = new URL("../../fixtures/chat/model-templates.json.gz", import.meta.url);
const { contexts, models, small, cases }: Models = JSON.parse(
  gunzipSync(readFileSync(file)).toString(),
);
const NOW = new Date(2026, 1, 5, 14, 7, 9);

function check(source: string, context: Record<string, unknown>, expected: Rendered): void {
  const render = () => new Template(source).render(context, limitsFor(2000), () => NOW);
  if (typeof expected === "string") {
    expect(render(), source).toBe(expected);
    return;
  }
  const { error } = expected;
  const raised = { TemplateError: RaisedError, RecursionError: TemplateLimitError }[error];
  expect(render, `${error}: ${source}`).toThrow(raised ?? TemplateRuntimeError);
}

describe("a model's template renders as in Jinja2", () => {
  test.each(models)("$name", ({ source, rendered }) => {
    expect(rendered).toHaveLength(contexts.length);
    for (const [at, expected] of rendered.entries()) check(source, contexts[at]!, expected);
  });

  test("there are enough of each kind", () => {
    const all = models.flatMap(({ rendered }) => rendered);
    expect(models).toHaveLength(68);
    expect(all.filter((rendered) => typeof rendered === "string").length).toBeGreaterThan(500);
    const names = ["ByteDance-Seed-OSS", "meetkai-functionary-medium-v3.1", "tencent-Hy3"];
    for (const { rendered } of models.filter(({ name }) => names.includes(name))) {
      expect(rendered.every((one) => typeof one === "string")).toBe(true);
    }
  });
});

test("keys of any kind, and undefined values in any place, are as in Jinja2", () => {
  expect(cases.filter(([, rendered]) => typeof rendered === "string").length).toBeGreaterThan(600);
  expect(cases.filter(([, rendered]) => typeof rendered !== "string").length).toBeGreaterThan(300);
  for (const [source, expected] of cases) check(source, small, expected);
});
