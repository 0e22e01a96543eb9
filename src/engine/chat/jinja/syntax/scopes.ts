// What Jinja2's compiler finds before a template is run: the names that are local to a scope,
// filters and tests that do not exist, and `break` or `continue` outside of a loop.

import { TemplateSyntaxError } from "../errors.ts";
import { childrenOf } from "./constants.ts";
import type {
  Body,
  Expression,
  MacroDefinition,
  Signature,
  Statement,
  Target,
  Template,
} from "./nodes.ts";

export interface KnownNames {
  readonly filters: { has(name: string): boolean };
  readonly tests: { has(name: string): boolean };
}

/** Fills in `hidden` and `specials`. Throws a `TemplateSyntaxError`. */
export function analyze({ body, blocks }: Template, known: KnownNames): void {
  const analysis = new Analysis(known);
  analysis.body(body, new Scope(), false);
  for (const block of blocks.values()) analysis.body(block.body, new Scope(), false);
}

/** Names of one scope; those that are assigned before they are read begin without a value. */
class Scope {
  readonly #parent: Scope | undefined;
  readonly #names: Set<string>;
  readonly hidden = new Set<string>();

  constructor(parent?: Scope, names: Iterable<string> = []) {
    this.#parent = parent;
    this.#names = new Set(names);
  }

  knows(name: string): boolean {
    return this.#names.has(name) || (this.#parent?.knows(name) ?? false);
  }

  load(name: string): void {
    if (!this.knows(name)) this.#names.add(name);
  }

  store(name: string): void {
    if (this.#names.has(name)) return;
    this.#names.add(name);
    if (!this.#parent?.knows(name)) this.hidden.add(name);
  }

  declare(name: string): void {
    this.#names.add(name);
  }

  /**
   * Goes through each part as if it were the only one; what only some of them assign is not hidden.
   */
  branch(parts: readonly ((scope: Scope) => void)[]): void {
    const branches = parts.map((part) => {
      const branch = new Scope(this.#parent, this.#names);
      part(branch);
      return branch;
    });
    for (const branch of branches) for (const name of branch.#names) this.#names.add(name);
  }
}

class Analysis {
  readonly #known: KnownNames;

  constructor(known: KnownNames) {
    this.#known = known;
  }

  /** A scope may have names before its statements: parameters. */
  body(body: Body, scope: Scope, isInLoop: boolean): void {
    this.#names(body.statements, scope);
    body.hidden = [...scope.hidden];
    this.#inner(body.statements, scope, isInLoop, false);
  }

  #names(statements: readonly Statement[], scope: Scope): void {
    for (const statement of statements) {
      switch (statement.type) {
        case "if": {
          const [first, ...others] = statement.branches;
          loads(first!.test, scope);
          scope.branch([
            (branch) => this.#names(first!.body, branch),
            (branch) => {
              for (const { test, body } of others) {
                loads(test, branch);
                branch.branch([(inner) => this.#names(body, inner)]);
              }
            },
            (branch) => this.#names(statement.otherwise, branch),
          ]);
          break;
        }
        case "set":
          loads(statement.value, scope);
          stores(statement.target, scope);
          break;
        case "set-block":
          stores(statement.target, scope);
          break;
        case "macro":
          scope.store(statement.name);
          break;
        case "files":
          for (const name of statement.names) scope.store(name);
          break;
        default:
          for (const expression of outerExpressions(statement)) loads(expression, scope);
      }
    }
  }

  /** `isSoft`: within an `if`: a filter that does not exist fails only when it is used. */
  #inner(statements: readonly Statement[], scope: Scope, isInLoop: boolean, isSoft: boolean): void {
    for (const statement of statements) {
      const isIf = statement.type === "if";
      for (const expression of expressionsOf(statement))
        this.#expression(expression, isSoft || isIf);
      const inner = new Scope(scope);
      switch (statement.type) {
        case "break":
        case "continue":
          if (!isInLoop) throw new TemplateSyntaxError(`"${statement.type}" stands outside a loop`);
          break;
        case "if":
          for (const { body } of statement.branches) this.#inner(body, scope, isInLoop, true);
          this.#inner(statement.otherwise, scope, isInLoop, true);
          break;
        case "for":
          refuseLoopNames(statement.target);
          walk(statement.body.statements, refuseLoopTargets);
          inner.declare("loop");
          declares(statement.target, inner);
          this.body(statement.body, inner, true);
          this.body(statement.otherwise, new Scope(scope), isInLoop && !statement.isRecursive);
          break;
        case "with":
          for (const target of statement.targets) declares(target, inner);
          this.body(statement.body, inner, isInLoop);
          break;
        case "set-block":
        case "filter-block":
        case "autoescape":
          this.body(statement.body, inner, isInLoop);
          break;
        case "macro":
          this.#macro(statement, inner);
          break;
        case "call-block":
        case "generation":
          this.#macro(statement.caller, inner);
          break;
      }
    }
  }

  #macro(macro: MacroDefinition, scope: Scope): void {
    const { parameters, defaults, body } = macro;
    const mentioned = mentionedIn(body.statements);
    macro.specials = new Set(["caller", "kwargs", "varargs"].filter((name) => mentioned.has(name)));
    const at = parameters.indexOf("caller");
    if (at >= 0 && mentioned.has("caller") && at < parameters.length - defaults.length) {
      throw new TemplateSyntaxError('a parameter "caller" needs a default');
    }
    for (const name of [...parameters, ...macro.specials]) scope.declare(name);
    for (const expression of defaults) loads(expression, scope);
    this.body(body, scope, false);
  }

  #expression(expression: Expression, isSoft: boolean): void {
    if (!isSoft && (expression.type === "filter" || expression.type === "test")) {
      const isFilter = expression.type === "filter";
      if (!(isFilter ? this.#known.filters : this.#known.tests).has(expression.name)) {
        const kind = isFilter ? "filter" : "test";
        throw new TemplateSyntaxError(`there is no ${kind} "${expression.name}"`);
      }
    }
    const isInnerSoft = isSoft || expression.type === "conditional";
    for (const child of childrenOf(expression)) this.#expression(child, isInnerSoft);
  }
}

function loads(expression: Expression, scope: Scope): void {
  if (expression.type === "name") scope.load(expression.name);
  else for (const child of childrenOf(expression)) loads(child, scope);
}

function stores(target: Target, scope: Scope): void {
  if (target.type === "name") scope.store(target.name);
  else if (target.type === "attribute") scope.load(target.name);
  else for (const item of target.items) stores(item, scope);
}

function declares(target: Target, scope: Scope): void {
  if (target.type === "name") scope.declare(target.name);
  else if (target.type === "tuple") for (const item of target.items) declares(item, scope);
}

function refuseLoopNames(target: Target): void {
  if (target.type === "tuple") target.items.forEach(refuseLoopNames);
  else if (target.type === "name" && target.name === "loop") {
    throw new TemplateSyntaxError('"loop" cannot be assigned to in a loop');
  }
}

function refuseLoopTargets(statement: Statement): void {
  const { type } = statement;
  if (type === "set" || type === "set-block" || type === "for") refuseLoopNames(statement.target);
}

/** All statements, those within others too. */
function walk(statements: readonly Statement[], visit: (statement: Statement) => void): void {
  for (const statement of statements) {
    visit(statement);
    for (const inner of statementsIn(statement)) walk(inner, visit);
  }
}

/** Names that statements read, but for those of blocks, which know no other scope. */
function mentionedIn(statements: readonly Statement[]): ReadonlySet<string> {
  const names = new Set<string>();
  const collect = (expression: Expression) => {
    if (expression.type === "name") names.add(expression.name);
    else childrenOf(expression).forEach(collect);
  };
  walk(statements, (statement) => expressionsOf(statement).forEach(collect));
  return names;
}

function statementsIn(statement: Statement): readonly (readonly Statement[])[] {
  switch (statement.type) {
    case "if":
      return [...statement.branches.map(({ body }) => body), statement.otherwise];
    case "for":
      return [statement.body.statements, statement.otherwise.statements];
    case "set-block":
    case "filter-block":
    case "with":
    case "autoescape":
    case "macro":
      return [statement.body.statements];
    case "call-block":
    case "generation":
      return [statement.caller.body.statements];
    default:
      return [];
  }
}

/** What is evaluated in the scope that a statement stands in. */
function outerExpressions(statement: Statement): readonly Expression[] {
  switch (statement.type) {
    case "output":
      return [statement.expression];
    case "for":
      return [statement.iterable];
    case "call-block":
      return [statement.call];
    case "filter-block":
      return [statement.filter];
    case "with":
      return statement.values;
    default:
      return [];
  }
}

function expressionsOf(statement: Statement): readonly Expression[] {
  const defaultsOf = ({ defaults }: Signature) => defaults;
  switch (statement.type) {
    case "set":
      return [statement.value];
    case "set-block":
      return statement.filter ? [statement.filter] : [];
    case "for":
      return statement.test ? [statement.iterable, statement.test] : [statement.iterable];
    case "if":
      return statement.branches.map(({ test }) => test);
    case "macro":
      return defaultsOf(statement);
    case "call-block":
      return [statement.call, ...defaultsOf(statement.caller)];
    case "autoescape":
      return [statement.value];
    default:
      return outerExpressions(statement);
  }
}
