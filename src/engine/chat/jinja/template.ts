// Jinja2 3.1 as transformers set it up for chat templates, from its grammar to Python's texts and
// numbers. Not in here: other files (include, extends), translations, asynchronous rendering.
// `errors.ts` lists what is refused beside.

import type { Limits } from "../limits.ts";
import { isFilter, isTest } from "./evaluator.ts";
import { Interpreter } from "./interpreter.ts";
import { Meter } from "./meter.ts";
import { valueFrom } from "./python/values.ts";
import type { Template as Tree } from "./syntax/nodes.ts";
import { parse } from "./syntax/parser.ts";

export class Template {
  readonly #tree: Tree;

  /** Throws a `TemplateSyntaxError`. */
  constructor(source: string) {
    this.#tree = parse(source, { filters: { has: isFilter }, tests: { has: isTest } });
  }

  /**
   * The text for these variables, of JSON's types. Throws a `TemplateRuntimeError`, a `RaisedError`
   * or a `TemplateLimitError`.
   */
  render(
    variables: Readonly<Record<string, unknown>>,
    limits: Limits,
    now = () => new Date(),
  ): string {
    const values = Object.entries(variables).map(
      ([name, value]) => [name, valueFrom(value)] as const,
    );
    return new Interpreter(this.#tree, values, new Meter(limits), now).run();
  }
}
