// Templates from a grammar over all of Jinja's constructs render as Jinja2 itself renders them. The oracle is recorded:
// scripts/jinja-templates.py, Jinja2 3.1.6 under the settings of transformers.

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import {
  RaisedError,
  TemplateRuntimeError,
  TemplateSyntaxError,
  UnsupportedError,
} from "../../../src/engine/chat/jinja/errors.ts";
import { Template } from "../../../src/engine/chat/jinja/template.ts";
import { limitsFor } from "../../../src/engine/chat/limits.ts";

interface Case {
  readonly source: string;
  /** Which of the contexts it is rendered with. */
  readonly context: number;
  readonly text?: string;
  /** The class of the error that Python ends with. */
  readonly error?: string;
  /** The text has an address in Python's memory. */
  readonly address?: true;
}

const file = new URL("../../fixtures/chat/generated-templates.json.gz", import.meta.url);
const { contexts, cases } = JSON.parse(gunzipSync(readFileSync(file)).toString()) as {
  readonly contexts: readonly Record<string, unknown>[];
  readonly cases: readonly Case[];
};
const NOW = new Date(2026, 1, 5, 14, 7, 9);
/** What may be refused though Jinja2 renders it. An address may be in a text that is not printed in the end. */
const REFUSED = ["address", "complex", "pprint"];

const render = ({ source, context }: Case) =>
  new Template(source).render(contexts[context]!, limitsFor(1000), () => NOW);

function outcome(one: Case): { text: string } | { error: Error } {
  try {
    return { text: render(one) };
  } catch (error) {
    return { error: error as Error };
  }
}

const OURS = [TemplateSyntaxError, TemplateRuntimeError, RaisedError];
const rendered = cases.filter(({ text }) => text !== undefined);
const failing = cases.filter(({ error }) => error !== undefined);
const addresses = cases.filter(({ address }) => address);

describe("of 3,000 generated templates", () => {
  test("there are enough of each kind", () => {
    expect(rendered.length).toBeGreaterThan(2000);
    expect(failing.length).toBeGreaterThan(500);
    expect(addresses.length).toBeGreaterThan(3);
    expect(rendered.length + failing.length + addresses.length).toBe(3000);
  });

  test("all that Jinja2 renders are rendered alike, or refused for a reason that is listed", () => {
    const refused: string[] = [];
    for (const one of rendered) {
      const result = outcome(one);
      if ("error" in result && result.error instanceof UnsupportedError) {
        expect(REFUSED, one.source).toContain(result.error.reason);
        refused.push(one.source);
      } else expect(result, one.source).toEqual({ text: one.text });
    }
    expect(refused.length).toBeLessThan(0.01 * cases.length);
  });

  test("those that print an address are refused", () => {
    for (const one of addresses) {
      expect(() => render(one), one.source).toThrow("it prints an address in Python's memory");
    }
  });

  test("all that Jinja2 refuses are refused", () => {
    for (const one of failing) {
      const result = outcome(one);
      expect("error" in result, `${one.error}: ${one.source}`).toBe(true);
      const { error } = result as { error: Error };
      expect(
        OURS.some((type) => error instanceof type),
        `${one.source} ${error.stack}`,
      ).toBe(true);
    }
  });
});
