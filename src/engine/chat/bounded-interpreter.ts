/**
 * Jinja of strangers, run in this process: the interpreter of @huggingface/jinja, with every node that it evaluates
 * counted and every value measured, and with what a single operation can make out of small values (a join, a
 * replacement, an indentation) worked out before it is made. Its values are strings, numbers, lists and maps of its own,
 * never an object of the host's: names are looked up in a `Map`, and nowhere else.
 */
import { Environment, Interpreter } from "@huggingface/jinja";
import { UserError } from "../../errors.ts";
import { ITEM_SIZE, type Limits, METHODS_SIZE } from "./limits.ts";
import { Meter } from "./meter.ts";
import {
  countOf,
  FALSE,
  isEqual,
  itemsOf,
  refuseFunctions,
  TRUE,
  type Value,
  valueMade,
} from "./values.ts";

/** As much of the parser's tree as is looked at here. */
export interface Node {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Stands in the tree where an operand was, which is evaluated once, before the operation that takes it. */
class Evaluated implements Node {
  readonly [field: string]: unknown;
  readonly type = "Evaluated";
  readonly result: Value;

  constructor(result: Value) {
    this.result = result;
  }
}

/** The package's types are written for bundlers and do not resolve here. */
const Base = Interpreter as new (
  environment: Environment,
) => {
  run(program: Node): Value;
  evaluate(node: Node | undefined, environment: Environment): Value;
};

export class BoundedInterpreter extends Base {
  readonly #meter: Meter;
  readonly #printed: ReadonlySet<Node>;
  /** Strings whose methods are. */
  readonly #bounded = new WeakSet<Value>();

  /** `printed`: the expressions of the program that are written out, not assigned or tested. */
  constructor(
    variables: Readonly<Record<string, unknown>>,
    printed: ReadonlySet<Node>,
    limits: Limits,
  ) {
    const environment = new Environment();
    super(environment);
    this.#meter = new Meter(limits);
    this.#printed = printed;
    const constants = {
      true: true,
      false: false,
      none: null,
      True: true,
      False: false,
      None: null,
    };
    const range = (...bounds: unknown[]) => this.#range(bounds);
    for (const [name, value] of Object.entries({ ...constants, range, ...variables })) {
      environment.set(name, value);
    }
  }

  /** Every evaluation of every node comes by here, called by the interpreter itself. */
  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (node instanceof Evaluated) return node.result;
    this.#meter.step(1);
    this.#meter.enter();
    try {
      const checked = node && this.#check(node, environment);
      const result: Value =
        checked instanceof Evaluated ? checked.result : super.evaluate(checked, environment);
      this.#meter.measure(result);
      return node && this.#printed.has(node) ? this.#written(result) : result;
    } finally {
      this.#meter.leave();
    }
  }

  /** The same node, its operands evaluated where the operation could make too much of them; throws where it would. */
  #check(node: Node, environment: Environment): Node {
    switch (node.type) {
      case "BinaryExpression":
        return this.#checkBinary(node, environment);
      case "MemberExpression": {
        const object = this.evaluate(node.object as Node, environment);
        if (typeof object.value === "string") {
          const isSlice = (node.property as Node).type === "SliceExpression";
          if (isSlice) this.#meter.checkSize(ITEM_SIZE * object.value.length);
          this.#boundMethods(object, object.value);
        }
        return { ...node, object: new Evaluated(object) };
      }
      case "FilterExpression": {
        const operand = this.evaluate(node.operand as Node, environment);
        return this.#checkFilter(operand, node.filter as Node, environment);
      }
      case "FilterStatement": {
        const operand = this.evaluate({ type: "Program", body: node.body }, environment);
        return this.#checkFilter(operand, node.filter as Node, environment);
      }
      case "For": {
        const iterable = node.iterable as Node;
        const isFiltered = iterable.type === "SelectExpression";
        const items = this.evaluate((isFiltered ? iterable.lhs : iterable) as Node, environment);
        this.#meter.step(itemsOf(items));
        const evaluated = new Evaluated(items);
        return { ...node, iterable: isFiltered ? { ...iterable, lhs: evaluated } : evaluated };
      }
      default:
        return node;
    }
  }

  #checkBinary(node: Node, environment: Environment): Node {
    const operator = (node.operator as { value: string }).value;
    if (operator === "and" || operator === "or") return node;
    const left = this.evaluate(node.left as Node, environment);
    const right = this.evaluate(node.right as Node, environment);
    // The interpreter compares as JavaScript does, to which "" and false are equal; Python knows better.
    if (operator === "==") return new Evaluated(isEqual(left, right) ? TRUE : FALSE);
    if (operator === "!=") return new Evaluated(isEqual(left, right) ? FALSE : TRUE);
    if (operator === "in" || operator === "not in") {
      if (typeof left.value === "string" && typeof right.value === "string") {
        this.#meter.checkWork(left.value.length * right.value.length);
      }
    } else {
      refuseFunctions(left);
      refuseFunctions(right);
    }
    return { ...node, left: new Evaluated(left), right: new Evaluated(right) };
  }

  #checkFilter(operand: Value, filter: Node, environment: Environment): Node {
    const isCall = filter.type === "CallExpression";
    const name = (isCall ? (filter.callee as Node) : filter).value as string;
    const checked = (by: Node) => ({
      type: "FilterExpression",
      operand: new Evaluated(operand),
      filter: by,
    });
    if (name === "replace" && typeof operand.value === "string") {
      this.#boundMethods(operand, operand.value);
    }
    if (!MULTIPLYING_FILTERS.has(name)) return checked(filter);

    const args = isCall
      ? (filter.args as Node[]).map((arg) => this.#argument(arg, environment))
      : [];
    const given = args.reduce((sum, arg) => sum + this.#weight(resultOf(arg)), 0);
    const { characters, depth } = this.#meter.measure(operand);
    const items = itemsOf(operand);
    if (name === "join") {
      this.#meter.checkSize(characters + items * Math.max(given, ITEM_SIZE));
    } else if (name === "indent") {
      this.#meter.checkSize(
        characters + (countOf(operand.toString(), "\n") + 1) * (given + DEFAULT_INDENT),
      );
    } else if (name === "tojson") {
      this.#meter.checkSize(characters + (characters / ITEM_SIZE) * given * (depth + 1));
    } else {
      this.#meter.checkWork(items * given);
    }
    return checked(isCall ? { ...filter, args } : filter);
  }

  /** An argument of a filter with its value in its place. */
  #argument(node: Node, environment: Environment): Node {
    const evaluated = (inner: unknown) => new Evaluated(this.evaluate(inner as Node, environment));
    if (node.type === "KeywordArgumentExpression") return { ...node, value: evaluated(node.value) };
    if (node.type === "SpreadExpression" || node.type === "KeywordSpreadExpression") {
      return { ...node, argument: evaluated(node.argument) };
    }
    return evaluated(node);
  }

  /** What an argument multiplies by: a width by its number, a separator by its length. */
  #weight(argument: Value): number {
    if (typeof argument.value === "number") return Math.max(0, argument.value);
    if (Array.isArray(argument.value)) {
      return argument.value.reduce((sum, item) => sum + this.#weight(item), 0);
    }
    if (argument.value instanceof Map) {
      return [...argument.value.values()].reduce((sum, item) => sum + this.#weight(item), 0);
    }
    return this.#meter.measure(argument).characters;
  }

  /** A method can be kept in a variable and called elsewhere, so the bounds go into the method. */
  #boundMethods(object: Value, text: string): void {
    if (this.#bounded.has(object)) return;
    this.#bounded.add(object);
    this.#meter.take(METHODS_SIZE);
    const bound = (name: string, check: (...args: unknown[]) => void) => {
      const method = object.builtins.get(name)!;
      const call = method.value as (args: Value[], scope: Environment) => Value;
      method.value = (args: Value[], scope: Environment) => {
        check(...args.map(({ value }) => value));
        return call(args, scope);
      };
    };
    bound("split", (separator) => {
      const length = typeof separator === "string" ? separator.length : 1;
      this.#meter.checkWork(text.length * length);
      this.#meter.checkSize((ITEM_SIZE * text.length) / Math.max(1, length));
    });
    bound("replace", (old, by) => {
      if (typeof old !== "string" || typeof by !== "string") return;
      this.#meter.checkWork(text.length * old.length);
      this.#meter.checkSize(text.length + countOf(text, old) * (by.length - old.length));
    });
  }

  #range(bounds: readonly unknown[]): number[] {
    if (bounds.length < 1 || bounds.length > 3 || !bounds.every(Number.isSafeInteger)) {
      throw new UserError("The chat template failed: range() takes one to three whole numbers.");
    }
    const [start, stop, step] = (bounds.length === 1 ? [0, bounds[0], 1] : [...bounds, 1]) as [
      number,
      number,
      number,
    ];
    if (step === 0) {
      throw new UserError("The chat template failed: range() takes no step of zero.");
    }
    const length = Math.max(0, Math.ceil((stop - start) / step));
    this.#meter.checkSize(ITEM_SIZE * length);
    return Array.from({ length }, (_, i) => start + i * step);
  }

  /** As Python would print it, but for lists and mappings, which stay JSON. */
  #written(value: Value): Value {
    refuseFunctions(value);
    if (typeof value.value === "boolean") return valueMade(value.value ? "True" : "False");
    if (value.type === "NullValue") return valueMade("None");
    const isText = typeof value.value !== "object";
    const text = isText ? value : valueMade(value.toString());
    this.#meter.write(text);
    return text;
  }
}

/** Filters whose result or effort is a product of what they are given. `replace` is bounded as a method. */
const MULTIPLYING_FILTERS: ReadonlySet<string> = new Set([
  "join",
  "indent",
  "tojson",
  "map",
  "sort",
]);
const DEFAULT_INDENT = 4;

function resultOf(argument: Node): Value {
  const evaluated = argument.value ?? argument.argument ?? argument;
  return (evaluated as Evaluated).result;
}
