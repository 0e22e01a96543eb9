// Expressions, evaluated: each node is a step, and each value that one makes is measured.

import { attributeOf, itemOf, sliceOf } from "./attributes.ts";
import { TemplateRuntimeError } from "./errors.ts";
import { FILTERS } from "./filters/filters.ts";
import { escaped } from "./filters/html.ts";
import type { Meter } from "./meter.ts";
import { bind } from "./python/arguments.ts";
import { operate, signed } from "./python/arithmetic.ts";
import { contains, holds, isEqual } from "./python/comparing.ts";
import { textOf } from "./python/printing.ts";
import {
  asText,
  Dict,
  hashOf,
  isTrue,
  iterate,
  type Keywords,
  List,
  Markup,
  NO_KEYWORDS,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./python/values.ts";
import type { Operation, Runtime } from "./runtime.ts";
import type { Scope } from "./scope.ts";
import type { Arguments, ComparisonOperator, Expression, Filter } from "./syntax/nodes.ts";
import { TESTS } from "./tests.ts";

export class Evaluator implements Runtime {
  readonly meter: Meter;
  autoescape = false;

  constructor(meter: Meter) {
    this.meter = meter;
  }

  evaluate(node: Expression, scope: Scope): Value {
    const { meter } = this;
    meter.step(1);
    switch (node.type) {
      case "const":
        return node.value;
      case "name": {
        const value = scope.get(node.name);
        return value === undefined ? new Undefined(`"${node.name}" is undefined`) : value;
      }
      default: {
        meter.enter();
        const value = this.#operation(node, scope);
        meter.leave();
        return value;
      }
    }
  }

  #operation(node: Exclude<Expression, { type: "const" | "name" }>, scope: Scope): Value {
    const { meter } = this;
    switch (node.type) {
      case "attribute":
        return attributeOf(this.evaluate(node.object, scope), node.name, meter);
      case "item": {
        const object = this.evaluate(node.object, scope);
        return itemOf(object, this.evaluate(node.key, scope), meter);
      }
      case "slice": {
        const object = this.evaluate(node.object, scope);
        const bounds = node.bounds.map((bound) => bound && this.evaluate(bound, scope));
        return meter.made(sliceOf(object, bounds, meter));
      }
      case "and": {
        const left = this.evaluate(node.left, scope);
        return isTrue(left) ? this.evaluate(node.right, scope) : left;
      }
      case "or": {
        const left = this.evaluate(node.left, scope);
        return isTrue(left) ? left : this.evaluate(node.right, scope);
      }
      case "not":
        return !isTrue(this.evaluate(node.operand, scope));
      case "compare": {
        let left = this.evaluate(node.first, scope);
        for (const { operator, operand } of node.rest) {
          const right = this.evaluate(operand, scope);
          if (!this.#compares(operator, left, right)) return false;
          left = right;
        }
        return true;
      }
      case "conditional":
        if (isTrue(this.evaluate(node.test, scope))) return this.evaluate(node.then, scope);
        if (node.otherwise) return this.evaluate(node.otherwise, scope);
        return new Undefined("an if without an else has no value");
      case "binary": {
        const left = this.evaluate(node.left, scope);
        const right = this.evaluate(node.right, scope);
        return meter.made(operate(node.operator, left, right, meter));
      }
      case "unary":
        return signed(node.operator, this.evaluate(node.operand, scope));
      case "concat":
        return this.#concat(
          node.parts.map((part) => this.evaluate(part, scope)),
          node.isConstant,
        );
      case "call": {
        const callee = this.evaluate(node.callee, scope);
        return this.call(callee, ...this.arguments(node, scope));
      }
      case "filter":
        return this.applyFilter(node, this.evaluate(node.operand!, scope), scope);
      case "test": {
        const operand = this.evaluate(node.operand, scope);
        return this.test(node.name, operand, ...this.arguments(node, scope));
      }
      case "tuple":
        return meter.made(new Tuple(node.items.map((item) => this.evaluate(item, scope))));
      case "list":
        return meter.made(new List(node.items.map((item) => this.evaluate(item, scope))));
      case "dict": {
        const pairs = node.pairs.map(
          ([key, value]) => [this.evaluate(key, scope), this.evaluate(value, scope)] as const,
        );
        return meter.made(new Dict(pairs));
      }
    }
  }

  #compares(operator: ComparisonOperator, left: Value, right: Value): boolean {
    switch (operator) {
      case "==":
        return isEqual(left, right, this.meter);
      case "!=":
        return !isEqual(left, right, this.meter);
      case "in":
        return contains(right, left, this.meter);
      case "not in":
        return !contains(right, left, this.meter);
      default:
        return holds(operator, left, right, this.meter);
    }
  }

  #concat(parts: readonly Value[], isConstant: boolean): Value {
    const { meter } = this;
    const isHtml = this.autoescape && !isConstant && parts.some((part) => part instanceof Markup);
    let joined = "";
    for (const part of parts) {
      joined += isHtml ? escaped(part, meter).text : textOf(part, meter);
      meter.checkSize(joined.length);
    }
    return meter.made(isHtml ? new Markup(joined) : joined);
  }

  arguments(
    { args, keywords, spread, spreadKeywords }: Arguments,
    scope: Scope,
  ): [Value[], Keywords] {
    const given = args.map((arg) => this.evaluate(arg, scope));
    if (spread) given.push(...iterate(this.evaluate(spread, scope)));
    if (keywords.length === 0 && !spreadKeywords) return [given, NO_KEYWORDS];
    const named = new Map<string, Value>();
    for (const [name, value] of keywords) named.set(name, this.evaluate(value, scope));
    if (spreadKeywords) {
      const mapping = this.evaluate(spreadKeywords, scope);
      if (!(mapping instanceof Dict)) {
        throw new TemplateRuntimeError(`"**" needs a mapping, not a ${typeName(mapping)}`);
      }
      for (const [key, value] of mapping.entries()) {
        const name = asText(key);
        if (name === undefined || named.has(name)) {
          throw new TemplateRuntimeError('"**" gives an argument a second time, or no name');
        }
        named.set(name, value);
      }
    }
    return [given, named];
  }

  call(callee: Value, args: readonly Value[], keywords: Keywords): Value {
    if (callee instanceof Undefined) callee.fail();
    if (!(callee instanceof Thing) || !callee.call) {
      throw new TemplateRuntimeError(`a ${typeName(callee)} cannot be called`);
    }
    return this.meter.made(callee.call(args, keywords));
  }

  applyFilter(node: Filter, operand: Value, scope: Scope): Value {
    return this.filter(node.name, operand, ...this.arguments(node, scope));
  }

  filter(name: Value, value: Value, args: readonly Value[], keywords: Keywords): Value {
    return this.meter.made(this.#run("filter", FILTERS, name, value, args, keywords));
  }

  test(name: Value, value: Value, args: readonly Value[], keywords: Keywords): boolean {
    const text = asText(args[0] ?? null) ?? asText(value);
    if (text !== undefined) this.meter.scan(text.length);
    // These two ask for what there is.
    if (name === "filter" || name === "test") {
      bind(name, "", args, keywords);
      hashOf(value); // It throws for what cannot be a name.
      return (name === "filter" ? isFilter : isTest)(asText(value) ?? "");
    }
    return this.#run("test", TESTS, name, value, args, keywords);
  }

  #run<Result>(
    kind: string,
    operations: ReadonlyMap<string, Operation<Result>>,
    name: Value,
    value: Value,
    args: readonly Value[],
    keywords: Keywords,
  ): Result {
    const text = asText(name);
    const operation = text === undefined ? undefined : operations.get(text);
    if (operation === undefined) {
      throw new TemplateRuntimeError(`there is no ${kind} "${text ?? typeName(name)}"`);
    }
    const subject = asText(value);
    if (subject !== undefined) this.meter.scan(subject.length);
    const { parameters, run } = operation;
    if (parameters === undefined) return run(value, args, this, keywords);
    return run(value, bind(text!, parameters, args, keywords), this, NO_KEYWORDS);
  }
}

export function isTest(name: string): boolean {
  return name === "filter" || name === "test" || TESTS.has(name);
}

export function isFilter(name: string): boolean {
  return FILTERS.has(name);
}
