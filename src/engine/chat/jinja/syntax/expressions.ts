// The grammar of Jinja's expressions.

import { DEEPEST_NESTING, TemplateLimitError } from "../../limits.ts";
import { TemplateSyntaxError } from "../errors.ts";
import { isConstant } from "./constants.ts";
import type { Token } from "./lexer.ts";
import type {
  Arguments,
  BinaryOperator,
  Comparison,
  ComparisonOperator,
  Expression,
  Filter,
} from "./nodes.ts";

const COMPARISONS = new Set(["==", "!=", "<", "<=", ">", ">="]);
export const CONSTANTS: ReadonlyMap<string, boolean | null> = new Map([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
]);

export class ExpressionParser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get token(): Token {
    return this.#tokens[this.#at]!;
  }

  next(): Token {
    const { token } = this;
    if (token.type !== "end") this.#at++;
    return token;
  }

  /** Whether a token is this operator, or this delimiter. */
  is(text: string): boolean {
    return this.token.text === text && /^(?:operator|open|close)$/.test(this.token.type);
  }

  isName(...names: readonly string[]): boolean {
    return this.token.type === "name" && names.includes(this.token.text);
  }

  #peek(): Token {
    return this.#tokens[Math.min(this.#at + 1, this.#tokens.length - 1)]!;
  }

  skip(text: string): boolean {
    const isThere = this.is(text);
    if (isThere) this.#at++;
    return isThere;
  }

  skipName(name: string): boolean {
    const isThere = this.isName(name);
    if (isThere) this.#at++;
    return isThere;
  }

  expect(text: string): void {
    if (!this.skip(text)) this.fail(`expected "${text}"`);
  }

  expectName(): string {
    if (this.token.type !== "name") this.fail("expected a name");
    return this.next().text;
  }

  fail(expected: string): never {
    const { type, text, line } = this.token;
    const found = type === "end" ? "the end of the template" : JSON.stringify(text);
    throw new TemplateSyntaxError(`${expected}, found ${found} in line ${line}`);
  }

  /** Goes down a level of brackets, blocks or operators. */
  nested<Result>(parse: () => Result): Result {
    if (++this.#depth > DEEPEST_NESTING) {
      throw new TemplateLimitError("nesting", `it goes deeper than ${DEEPEST_NESTING} levels`);
    }
    const result = parse();
    this.#depth--;
    return result;
  }

  /** One expression, or several as a tuple. `isEnd`: what ends it beside a bracket and a tag. */
  tuple(
    options: { isWhole?: boolean; hasBrackets?: boolean; isEnd?: () => boolean } = {},
  ): Expression {
    const { isWhole = true, hasBrackets = false, isEnd = () => false } = options;
    const items: Expression[] = [];
    let isTuple = false;
    for (;;) {
      if (items.length > 0) this.expect(",");
      if (this.token.type === "close" || this.is(")") || isEnd()) break;
      items.push(this.expression(isWhole));
      if (!this.is(",")) break;
      isTuple = true;
    }
    if (!isTuple && items.length > 0) return items[0]!;
    if (!isTuple && !hasBrackets) this.fail("expected an expression");
    return { type: "tuple", items };
  }

  /** `isWhole`: with `… if … else …`. */
  expression(isWhole = true): Expression {
    return this.nested(() => (isWhole ? this.#conditional() : this.#or()));
  }

  #conditional(): Expression {
    let then = this.#or();
    while (this.skipName("if")) {
      const test = this.#or();
      const otherwise = this.skipName("else") ? this.nested(() => this.#conditional()) : undefined;
      then = { type: "conditional", test, then, otherwise };
    }
    return then;
  }

  #or(): Expression {
    let left = this.#and();
    while (this.skipName("or")) left = { type: "or", left, right: this.#and() };
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.skipName("and")) left = { type: "and", left, right: this.#not() };
    return left;
  }

  #not(): Expression {
    if (!this.skipName("not")) return this.#compare();
    return { type: "not", operand: this.nested(() => this.#not()) };
  }

  #compare(): Expression {
    const first = this.#sum();
    const rest: Comparison[] = [];
    for (;;) {
      let operator: ComparisonOperator;
      if (this.token.type === "operator" && COMPARISONS.has(this.token.text)) {
        operator = this.next().text as ComparisonOperator;
      } else if (this.skipName("in")) operator = "in";
      else if (this.isName("not") && this.#peek().type === "name" && this.#peek().text === "in") {
        this.#at += 2;
        operator = "not in";
      } else break;
      rest.push({ operator, operand: this.#sum() });
    }
    return rest.length === 0 ? first : { type: "compare", first, rest };
  }

  #binary(operators: readonly string[], operand: () => Expression): Expression {
    let left = operand();
    while (this.token.type === "operator" && operators.includes(this.token.text)) {
      const operator = this.next().text as BinaryOperator;
      left = { type: "binary", operator, left, right: operand() };
    }
    return left;
  }

  #sum(): Expression {
    return this.#binary(["+", "-"], () => this.#concat());
  }

  #concat(): Expression {
    const parts = [this.#product()];
    while (this.skip("~")) parts.push(this.#product());
    return parts.length === 1
      ? parts[0]!
      : { type: "concat", parts, isConstant: parts.every(isConstant) };
  }

  #product(): Expression {
    return this.#binary(["*", "/", "//", "%"], () => this.#binary(["**"], () => this.#unary(true)));
  }

  #unary(hasFilters: boolean): Expression {
    let node: Expression;
    if (this.is("-") || this.is("+")) {
      const operator = this.next().text as "+" | "-";
      node = { type: "unary", operator, operand: this.nested(() => this.#unary(false)) };
    } else node = this.primary();
    node = this.#postfix(node);
    return hasFilters ? this.#filtered(node) : node;
  }

  primary(): Expression {
    const { type, text, value } = this.token;
    if (type === "name") {
      this.next();
      const constant = CONSTANTS.get(text);
      return constant === undefined
        ? { type: "name", name: text }
        : { type: "const", value: constant };
    }
    if (type === "string") {
      let joined = "";
      while (this.token.type === "string") joined += this.next().value as string;
      return { type: "const", value: joined };
    }
    if (type === "number") {
      this.next();
      return { type: "const", value };
    }
    if (this.skip("(")) {
      const node = this.nested(() => this.tuple({ hasBrackets: true }));
      this.expect(")");
      return node;
    }
    if (this.skip("[")) return { type: "list", items: this.#until("]", () => this.expression()) };
    if (this.skip("{")) {
      const pairs = this.#until("}", (): [Expression, Expression] => {
        const key = this.expression();
        this.expect(":");
        return [key, this.expression()];
      });
      return { type: "dict", pairs };
    }
    return this.fail("expected an expression");
  }

  /** Parts between commas; one may follow the last. */
  #until<Part>(close: string, parse: () => Part): Part[] {
    const parts: Part[] = [];
    while (!this.skip(close)) {
      if (parts.length > 0) {
        this.expect(",");
        if (this.skip(close)) break;
      }
      parts.push(parse());
    }
    return parts;
  }

  #postfix(node: Expression): Expression {
    for (;;) {
      if (this.skip(".")) {
        const { type, text, value } = this.next();
        if (type === "name") node = { type: "attribute", object: node, name: text };
        else if (type === "number" && /^[\d_]+$/.test(text)) {
          node = { type: "item", object: node, key: { type: "const", value } };
        } else {
          this.#at--;
          this.fail("expected a name or a number");
        }
      } else if (this.is("[")) node = this.#subscript(node);
      else if (this.is("(")) node = { type: "call", callee: node, ...this.#arguments() };
      else return node;
    }
  }

  #subscript(object: Expression): Expression {
    this.expect("[");
    const keys: (Expression | readonly (Expression | undefined)[])[] = [];
    while (!this.is("]")) {
      if (keys.length > 0) this.expect(",");
      keys.push(this.#subscribed());
    }
    this.expect("]");
    const [key] = keys;
    if (keys.length === 1) {
      return Array.isArray(key)
        ? { type: "slice", object, bounds: key }
        : { type: "item", object, key: key as Expression };
    }
    if (keys.some(Array.isArray)) this.fail("expected one slice");
    return { type: "item", object, key: { type: "tuple", items: keys as Expression[] } };
  }

  /** A key, or the bounds of a slice. */
  #subscribed(): Expression | (Expression | undefined)[] {
    const isAtBound = () => !this.is(":") && !this.is("]") && !this.is(",");
    const start = this.is(":") ? undefined : this.expression();
    if (!this.skip(":")) return start!;
    const stop = isAtBound() ? this.expression() : undefined;
    const step = this.skip(":") && isAtBound() ? this.expression() : undefined;
    return [start, stop, step];
  }

  #arguments(): Arguments {
    this.expect("(");
    const args: Expression[] = [];
    const keywords: [string, Expression][] = [];
    let spread: Expression | undefined;
    let spreadKeywords: Expression | undefined;
    const ensure = (isValid: boolean) => {
      if (!isValid) this.fail("expected another order of arguments");
    };
    this.#until(")", () => {
      if (this.skip("*")) {
        ensure(!spread && !spreadKeywords);
        spread = this.expression();
      } else if (this.skip("**")) {
        ensure(!spreadKeywords);
        spreadKeywords = this.expression();
      } else if (
        this.token.type === "name" &&
        this.#peek().text === "=" &&
        this.#peek().type === "operator"
      ) {
        ensure(!spreadKeywords);
        const name = this.next().text;
        ensure(!keywords.some(([other]) => other === name));
        this.expect("=");
        keywords.push([name, this.expression()]);
      } else {
        ensure(!spread && !spreadKeywords && keywords.length === 0);
        args.push(this.expression());
      }
    });
    return { args, keywords, spread, spreadKeywords };
  }

  #noArguments(): Arguments {
    return { args: [], keywords: [], spread: undefined, spreadKeywords: undefined };
  }

  #filtered(node: Expression): Expression {
    for (;;) {
      if (this.is("|")) node = this.filters(node)!;
      else if (this.isName("is")) node = this.#test(node);
      else if (this.is("(")) node = { type: "call", callee: node, ...this.#arguments() };
      else return node;
    }
  }

  /** A chain of filters. `isFirst`: without "|" before the first. */
  filters(operand: Expression | undefined, isFirst = false): Filter | undefined {
    let node: Filter | undefined;
    while (isFirst || this.skip("|")) {
      isFirst = false;
      const name = this.#dottedName();
      const given = this.is("(") ? this.#arguments() : this.#noArguments();
      node = { type: "filter", operand: node ?? operand, name, ...given };
    }
    return node;
  }

  #dottedName(): string {
    let name = this.expectName();
    while (this.skip(".")) name += `.${this.expectName()}`;
    return name;
  }

  #test(operand: Expression): Expression {
    this.next();
    const isNegated = this.skipName("not");
    const name = this.#dottedName();
    let given = this.#noArguments();
    if (this.is("(")) given = this.#arguments();
    else if (this.#beginsArgument()) {
      if (this.isName("is")) this.fail("expected one test");
      given = { ...given, args: [this.#postfix(this.primary())] };
    }
    const test: Expression = { type: "test", operand, name, ...given };
    return isNegated ? { type: "not", operand: test } : test;
  }

  #beginsArgument(): boolean {
    const { type } = this.token;
    if (type === "name") return !this.isName("else", "or", "and");
    return type === "string" || type === "number" || this.is("[") || this.is("{");
  }
}
