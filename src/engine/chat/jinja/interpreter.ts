// Statements, run: a tree of them writes parts of a text.

import { TemplateRuntimeError } from "./errors.ts";
import { Evaluator } from "./evaluator.ts";
import { escaped } from "./filters/html.ts";
import { globals } from "./globals.ts";
import type { Meter } from "./meter.ts";
import { textOf } from "./python/printing.ts";
import {
  asText,
  Callable,
  Dict,
  isTrue,
  iterate,
  type Keywords,
  Lazy,
  Markup,
  Namespace,
  NO_KEYWORDS,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./python/values.ts";
import { Scope } from "./scope.ts";
import type { Body, For, MacroDefinition, Statement, Target, Template } from "./syntax/nodes.ts";
import { Blocks, Loop, Macro } from "./things.ts";

/** How a loop's body ends early. */
type Left = "break" | "continue" | undefined;

export class Interpreter extends Evaluator {
  readonly #template: Template;
  /** What the template is given. */
  readonly #context = new Scope();
  /** What it assigns outside of loops and macros. */
  readonly #top: Scope;

  constructor(
    template: Template,
    variables: Iterable<readonly [string, Value]>,
    meter: Meter,
    now: () => Date,
  ) {
    super(meter);
    this.#template = template;
    for (const [name, value] of globals(meter, now)) this.#context.set(name, value);
    for (const [name, value] of variables) this.#context.set(name, value);
    this.#top = new Scope(this.#context, template.body.hidden);
  }

  run(): string {
    this.#top.set("self", this.#blocks());
    return this.#captured((out) =>
      this.#statements(this.#template.body.statements, this.#top, out),
    );
  }

  #captured(write: (out: string[]) => void): string {
    const out: string[] = [];
    write(out);
    return this.meter.made(out.join(""));
  }

  /** What a block has written; as HTML if texts are escaped. */
  #text(write: (out: string[]) => void): Value {
    const text = this.#captured(write);
    return this.autoescape ? new Markup(text) : text;
  }

  #body(body: Body, scope: Scope, out: string[]): Left {
    return this.#statements(body.statements, scope, out);
  }

  #inner(body: Body, scope: Scope): Scope {
    return new Scope(scope, body.hidden);
  }

  #statements(statements: readonly Statement[], scope: Scope, out: string[]): Left {
    this.meter.enter();
    for (const statement of statements) {
      const left = this.#statement(statement, scope, out);
      if (left) {
        this.meter.leave();
        return left;
      }
    }
    this.meter.leave();
    return undefined;
  }

  #write(text: string, out: string[]): void {
    this.meter.write(text);
    out.push(text);
  }

  /** What a block gives, as it is. */
  #pass(value: Value, out: string[]): void {
    const text = asText(value);
    if (text === undefined) {
      throw new TemplateRuntimeError(`a block gives a text, not a ${typeName(value)}`);
    }
    this.#write(text, out);
  }

  #output(value: Value, out: string[]): void {
    const { meter } = this;
    this.#write(this.autoescape ? escaped(value, meter).text : textOf(value, meter), out);
  }

  #statement(statement: Statement, scope: Scope, out: string[]): Left {
    this.meter.step(1);
    switch (statement.type) {
      case "data":
        this.#write(statement.text, out);
        return undefined;
      case "output":
        this.#output(this.evaluate(statement.expression, scope), out);
        return undefined;
      case "set":
        this.#checkNamespaces(statement.target, scope);
        this.#assign(statement.target, this.evaluate(statement.value, scope), scope);
        return undefined;
      case "if": {
        const branch = statement.branches.find(({ test }) => isTrue(this.evaluate(test, scope)));
        return this.#statements(branch?.body ?? statement.otherwise, scope, out);
      }
      case "for":
        return this.#for(statement, scope, out);
      case "break":
      case "continue":
        return statement.type;
      case "macro":
        scope.set(statement.name, this.#macro(statement, scope));
        return undefined;
      case "call-block": {
        const { call } = statement;
        const callee = this.evaluate(call.callee, scope);
        const [args, keywords] = this.arguments(call, scope);
        if (keywords.has("caller")) throw new TemplateRuntimeError('"caller" is given twice');
        const caller = this.#macro(statement.caller, scope);
        this.#pass(this.call(callee, args, new Map([...keywords, ["caller", caller]])), out);
        return undefined;
      }
      case "generation":
        this.#pass(this.call(this.#macro(statement.caller, scope), [], NO_KEYWORDS), out);
        return undefined;
      case "set-block":
      case "filter-block": {
        const { filter, body } = statement;
        const inner = this.#inner(body, scope);
        let left: Left;
        let value = this.#text((part) => {
          left = this.#body(body, inner, part);
        });
        // Python leaves the loop before the text is used.
        if (left) return left;
        for (const step of filter ? chainOf(filter) : [])
          value = this.applyFilter(step, value, inner);
        if (statement.type === "filter-block") this.#pass(value, out);
        else
          this.#assign(
            statement.target,
            this.autoescape ? new Markup(textOf(value, this.meter)) : value,
            scope,
          );
        return undefined;
      }
      case "with": {
        const inner = this.#inner(statement.body, scope);
        statement.targets.forEach((target, i) => {
          this.#assign(target, this.evaluate(statement.values[i]!, scope), inner);
        });
        return this.#body(statement.body, inner, out);
      }
      case "autoescape": {
        const before = this.autoescape;
        this.autoescape = isTrue(this.evaluate(statement.value, scope));
        const left = this.#body(statement.body, this.#inner(statement.body, scope), out);
        this.autoescape = before;
        return left;
      }
      case "block":
        if (statement.isRequired) {
          throw new TemplateRuntimeError(`the block "${statement.name}" is required elsewhere`);
        }
        this.#block(statement.name, statement.isScoped ? scope : undefined, out);
        return undefined;
      case "files":
        throw new TemplateRuntimeError(
          `"${statement.tag}" needs another file, and a chat template has none`,
        );
    }
  }

  #assign(target: Target, value: Value, scope: Scope): void {
    if (target.type === "name") scope.set(target.name, value);
    else if (target.type === "attribute") {
      const namespace = scope.get(target.name) as Namespace;
      namespace.attributes.set(target.attribute, value);
    } else {
      const { items } = target;
      let count = 0;
      for (const item of iterate(value)) {
        if (count === items.length)
          throw new TemplateRuntimeError("there are too many values to unpack");
        this.#assign(items[count++]!, item, scope);
      }
      if (count < items.length)
        throw new TemplateRuntimeError("there are not enough values to unpack");
    }
  }

  /** Before the value is evaluated. */
  #checkNamespaces(target: Target, scope: Scope): void {
    if (target.type === "tuple") {
      for (const item of target.items) this.#checkNamespaces(item, scope);
    } else if (target.type === "attribute" && !(scope.get(target.name) instanceof Namespace)) {
      throw new TemplateRuntimeError(
        `"${target.name}" is no namespace, and its attributes cannot be set`,
      );
    }
  }

  #for(node: For, scope: Scope, out: string[]): Left {
    const items = this.evaluate(node.iterable, scope);
    if (!node.isRecursive) return this.#loop(node, items, scope, out, 0);
    this.#pass(this.#recursive(node, items, scope, 0), out);
    return undefined;
  }

  /** The text of a loop that can be called. */
  #recursive(node: For, items: Value, scope: Scope, depth: number): Value {
    return this.#text((out) => this.#loop(node, items, scope, out, depth));
  }

  #loop(node: For, items: Value, scope: Scope, out: string[], depth: number): Left {
    const { target, test, body, otherwise } = node;
    const source = test ? new Lazy(this.#selected(node, items, scope)) : items;
    const loop = new Loop(source, this.meter, depth, (inner) => {
      if (node.isRecursive) return this.#recursive(node, inner, scope, depth + 1);
      throw new TemplateRuntimeError('a loop that is called must be marked "recursive"');
    });
    let isEmpty = true;
    for (let item = loop.advance(); item !== undefined; item = loop.advance()) {
      const inner = this.#inner(body, scope);
      inner.set("loop", loop);
      this.#assign(target, item, inner);
      const left = this.#body(body, inner, out);
      if (left === "break") {
        // `else` runs if no body came to its end.
        break;
      }
      if (left === undefined) isEmpty = false;
    }
    if (isEmpty) return this.#body(otherwise, this.#inner(otherwise, scope), out);
    return undefined;
  }

  *#selected({ target, test }: For, items: Value, scope: Scope): Generator<Value> {
    for (const item of iterate(items)) {
      this.meter.step(1);
      const inner = new Scope(scope);
      this.#assign(target, item, inner);
      if (isTrue(this.evaluate(test!, inner)))
        yield target.type === "tuple" ? new Tuple([...iterate(item)]) : item;
    }
  }

  #macro(macro: MacroDefinition, scope: Scope): Macro {
    const { autoescape } = this;
    return new Macro(macro, (args, keywords) => {
      const inner = this.#bound(macro, args, keywords, scope);
      const called = this.autoescape;
      this.autoescape = autoescape;
      this.#defaults(macro, inner);
      const text = this.#captured((out) => this.#body(macro.body, inner, out));
      this.autoescape = called;
      return called ? new Markup(text) : text;
    });
  }

  /** A macro's scope with its arguments; parameters without one have no value. */
  #bound(
    { name = "caller", parameters, specials, body }: MacroDefinition,
    args: readonly Value[],
    keywords: Keywords,
    scope: Scope,
  ): Scope {
    const inner = this.#inner(body, scope);
    const rest = new Map(keywords);
    parameters.forEach((parameter, i) => {
      inner.set(parameter, i < args.length ? args[i] : rest.get(parameter));
      if (i >= args.length) rest.delete(parameter);
    });
    if (specials.has("caller") && !parameters.includes("caller")) {
      inner.set("caller", rest.get("caller") ?? new Undefined("no caller is defined"));
      rest.delete("caller");
    }
    const [unknown] = rest.keys();
    if (specials.has("kwargs")) inner.set("kwargs", new Dict(rest));
    else if (unknown !== undefined) {
      throw new TemplateRuntimeError(`the macro "${name}" takes no argument "${unknown}"`);
    }
    const more = args.slice(parameters.length);
    if (specials.has("varargs")) inner.set("varargs", new Tuple(more));
    else if (more.length > 0) {
      throw new TemplateRuntimeError(
        `the macro "${name}" takes ${parameters.length} arguments, not ${args.length}`,
      );
    }
    return inner;
  }

  #defaults({ parameters, defaults }: MacroDefinition, inner: Scope): void {
    parameters.forEach((parameter, i) => {
      if (inner.get(parameter) !== undefined) return;
      const value = defaults[i - parameters.length + defaults.length];
      const given = value
        ? this.evaluate(value, inner)
        : new Undefined(`the parameter "${parameter}" was not given`);
      inner.set(parameter, given);
    });
  }

  /**
   * A block knows what is assigned outside of all loops, and its own; with a scope, all that is
   * seen there.
   */
  #block(name: string, scope: Scope | undefined, out: string[]): void {
    const { body } = this.#template.blocks.get(name)!;
    const around = new Scope(this.#context);
    for (const [key, value] of (scope ?? this.#top).collect(this.#context)) around.set(key, value);
    const inner = new Scope(around, body.hidden);
    inner.set("self", this.#blocks());
    inner.set("super", new Undefined(`there is no other block "${name}"`));
    // Jinja2 compiles blocks outside of what stands around them.
    const { autoescape } = this;
    this.autoescape = false;
    this.#body(body, inner, out);
    this.autoescape = autoescape;
  }

  #blocks(): Blocks {
    return new Blocks((name) => {
      if (!this.#template.blocks.has(name)) return undefined;
      return new Callable(() => this.#text((out) => this.#block(name, undefined, out)));
    });
  }
}

/** The first is the innermost. */
function chainOf(filter: Extract<Statement, { type: "filter-block" }>["filter"]) {
  const chain = [filter];
  for (let inner = filter.operand; inner?.type === "filter"; inner = inner.operand)
    chain.unshift(inner);
  return chain;
}
