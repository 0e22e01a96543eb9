// The grammar of Jinja's statements, with the extensions that transformers ask for: `break`,
// `continue`, `generation`.

import { TemplateSyntaxError } from "../errors.ts";
import { isSpace } from "../python/texts.ts";
import { CONSTANTS, ExpressionParser } from "./expressions.ts";
import { tokenize } from "./lexer.ts";
import type {
  Block,
  Body,
  Expression,
  MacroDefinition,
  Signature,
  Statement,
  Target,
  Template,
} from "./nodes.ts";
import { analyze, type KnownNames } from "./scopes.ts";

/** Throws a `TemplateSyntaxError` for what Jinja2 does not compile. */
export function parse(source: string, known: KnownNames): Template {
  const parser = new Parser(tokenize(source));
  const template = { body: bodyOf(parser.statements([])), blocks: parser.blocks };
  analyze(template, known);
  return template;
}

const bodyOf = (statements: readonly Statement[]): Body => ({ statements, hidden: [] });

class Parser extends ExpressionParser {
  readonly blocks = new Map<string, Block>();

  /** Up to one of these tags, of which the name is the token then; to the end if there are none. */
  statements(ends: readonly string[]): Statement[] {
    return this.nested(() => {
      const statements: Statement[] = [];
      for (;;) {
        const { type, text } = this.token;
        if (type === "end") {
          if (ends.length > 0) this.fail(`expected ${ends.map((end) => `"${end}"`).join(" or ")}`);
          return statements;
        }
        this.next();
        if (type === "data") statements.push({ type: "data", text });
        else if (text === "{{") {
          statements.push({ type: "output", expression: this.tuple() });
          this.expect("}}");
        } else {
          if (this.isName(...ends)) return statements;
          statements.push(...this.#statement());
          this.expect("%}");
        }
      }
    });
  }

  /** The statements of a block, up to the name of the tag that ends it. */
  #block(...ends: readonly string[]): Statement[] {
    this.skip(":");
    this.expect("%}");
    return this.statements(ends);
  }

  #body(end: string): Body {
    const statements = this.#block(end);
    this.next();
    return bodyOf(statements);
  }

  #statement(): Statement[] {
    if (this.token.type !== "name") this.fail("expected a tag");
    const tag = this.token.text;
    const parse = TAGS.get(tag);
    if (parse === undefined) this.fail("expected a tag that is known");
    this.next();
    const statement = parse!.call(this, tag);
    return Array.isArray(statement) ? statement : [statement];
  }

  set(): Statement {
    const target = this.target({ hasAttributes: true });
    if (this.skip("=")) return { type: "set", target, value: this.tuple() };
    const filter = this.filters(undefined);
    return { type: "set-block", target, filter, body: this.#body("endset") };
  }

  for(): Statement {
    const target = this.target({ isEnd: () => this.isName("in") });
    if (!this.skipName("in")) this.fail('expected "in"');
    const isEnd = () => this.isName("recursive");
    const iterable = this.tuple({ isWhole: false, isEnd });
    const test = this.skipName("if") ? this.expression() : undefined;
    const isRecursive = this.skipName("recursive");
    const body = bodyOf(this.#block("endfor", "else"));
    const otherwise = this.next().text === "else" ? this.#body("endfor") : bodyOf([]);
    return { type: "for", target, iterable, test, isRecursive, body, otherwise };
  }

  if(): Statement {
    const branches: { test: Expression; body: Statement[] }[] = [];
    let end: string;
    do {
      const test = this.tuple({ isWhole: false });
      branches.push({ test, body: this.#block("elif", "else", "endif") });
      end = this.next().text;
    } while (end === "elif");
    const otherwise = end === "else" ? this.#body("endif").statements : [];
    return { type: "if", branches, otherwise };
  }

  with(): Statement {
    const targets: Target[] = [];
    const values: Expression[] = [];
    while (!this.is("%}")) {
      if (targets.length > 0) this.expect(",");
      targets.push(this.target());
      this.expect("=");
      values.push(this.expression());
    }
    return { type: "with", targets, values, body: this.#body("endwith") };
  }

  autoescape(): Statement {
    return { type: "autoescape", value: this.expression(), body: this.#body("endautoescape") };
  }

  block(): Statement {
    const { line } = this.token;
    const name = this.expectName();
    const isScoped = this.skipName("scoped");
    const isRequired = this.skipName("required");
    const body = this.#body("endblock");
    const isEmpty = body.statements.every(({ type, ...node }) => {
      return type === "data" && "text" in node && isSpace(node.text);
    });
    if (isRequired && !isEmpty) this.fail("expected nothing in a required block");
    this.skipName(name);
    const block: Block = { type: "block", name, isScoped, isRequired, body };
    if (this.blocks.has(name)) {
      throw new TemplateSyntaxError(`the block "${name}" is there twice, again in line ${line}`);
    }
    this.blocks.set(name, block);
    return block;
  }

  macro(): Statement {
    const name = this.expectTarget();
    const signature = this.#signature();
    return { type: "macro", ...this.#macro(name, signature, "endmacro"), name };
  }

  #macro(name: string | undefined, signature: Signature, end: string): MacroDefinition {
    return { name, ...signature, body: this.#body(end), specials: new Set() };
  }

  #signature(): Signature {
    const parameters: string[] = [];
    const defaults: Expression[] = [];
    this.expect("(");
    while (!this.skip(")")) {
      if (parameters.length > 0) this.expect(",");
      const name = this.expectTarget();
      if (parameters.includes(name)) this.fail(`expected one parameter "${name}"`);
      parameters.push(name);
      if (this.skip("=")) defaults.push(this.expression());
      else if (defaults.length > 0) this.fail("expected a default as for the parameter before");
    }
    return { parameters, defaults };
  }

  call(): Statement {
    const signature = this.is("(") ? this.#signature() : { parameters: [], defaults: [] };
    const call = this.expression();
    if (call.type !== "call") return this.fail("expected a call before");
    return { type: "call-block", call, caller: this.#macro(undefined, signature, "endcall") };
  }

  generation(): Statement {
    const signature = { parameters: [], defaults: [] };
    return { type: "generation", caller: this.#macro(undefined, signature, "endgeneration") };
  }

  filter(): Statement {
    const filter = this.filters(undefined, true)!;
    return { type: "filter-block", filter, body: this.#body("endfilter") };
  }

  print(): Statement[] {
    const statements: Statement[] = [];
    while (!this.is("%}")) {
      if (statements.length > 0) this.expect(",");
      statements.push({ type: "output", expression: this.expression() });
    }
    return statements;
  }

  loopControl(tag: string): Statement {
    return { type: tag as "break" | "continue" };
  }

  /** Statements that read other files are refused when they run, as in Jinja2 without a loader. */
  files(tag: string): Statement {
    const names: string[] = [];
    this.expression();
    if (tag === "import") {
      if (!this.skipName("as")) this.fail('expected "as"');
      names.push(this.expectTarget());
    } else if (tag === "from") {
      if (!this.skipName("import")) this.fail('expected "import"');
      do {
        if (this.isName("with", "without")) break;
        const name = this.expectTarget();
        names.push(this.skipName("as") ? this.expectTarget() : name);
      } while (this.skip(","));
    } else if (this.skipName("ignore") && !this.skipName("missing"))
      this.fail('expected "missing"');
    if ((this.skipName("with") || this.skipName("without")) && !this.skipName("context")) {
      this.fail('expected "context"');
    }
    return { type: "files", tag, names };
  }

  /** What is assigned to. `hasAttributes`: also the attributes of a namespace. */
  target({
    hasAttributes = false,
    isEnd,
  }: {
    hasAttributes?: boolean;
    isEnd?: () => boolean;
  } = {}): Target {
    const items: Target[] = [];
    let isTuple = false;
    for (;;) {
      if (items.length > 0) this.expect(",");
      if (this.token.type === "close" || this.is(")") || isEnd?.()) break;
      items.push(this.#simpleTarget(hasAttributes));
      if (!this.is(",")) break;
      isTuple = true;
    }
    if (!isTuple && items.length === 0) this.fail("expected a name");
    return isTuple ? { type: "tuple", items } : items[0]!;
  }

  #simpleTarget(hasAttributes: boolean): Target {
    if (this.skip("(")) {
      const target = this.is(")") ? undefined : this.nested(() => this.target());
      this.expect(")");
      return target ?? { type: "tuple", items: [] };
    }
    const name = this.expectTarget();
    if (!hasAttributes || !this.skip(".")) return { type: "name", name };
    return { type: "attribute", name, attribute: this.expectName() };
  }

  /** A name that is no constant's. */
  expectTarget(): string {
    if (CONSTANTS.has(this.token.text)) this.fail("expected a name");
    return this.expectName();
  }
}

const TAGS: ReadonlyMap<string, (this: Parser, tag: string) => Statement | Statement[]> = new Map([
  ["set", Parser.prototype.set],
  ["for", Parser.prototype.for],
  ["if", Parser.prototype.if],
  ["with", Parser.prototype.with],
  ["autoescape", Parser.prototype.autoescape],
  ["block", Parser.prototype.block],
  ["macro", Parser.prototype.macro],
  ["call", Parser.prototype.call],
  ["generation", Parser.prototype.generation],
  ["filter", Parser.prototype.filter],
  ["print", Parser.prototype.print],
  ["break", Parser.prototype.loopControl],
  ["continue", Parser.prototype.loopControl],
  ["include", Parser.prototype.files],
  ["import", Parser.prototype.files],
  ["from", Parser.prototype.files],
  ["extends", Parser.prototype.files],
] as [string, (this: Parser, tag: string) => Statement | Statement[]][]);
