// The tree that a template is parsed into: what Jinja2's nodes say, without what only its compiler
// needs.

import type { Value } from "../python/values.ts";

export type Expression =
  | { readonly type: "const"; readonly value: Value }
  | { readonly type: "name"; readonly name: string }
  | { readonly type: "tuple" | "list"; readonly items: readonly Expression[] }
  | { readonly type: "dict"; readonly pairs: readonly (readonly [Expression, Expression])[] }
  | {
      readonly type: "conditional";
      readonly test: Expression;
      readonly then: Expression;
      readonly otherwise: Expression | undefined;
    }
  | { readonly type: "and" | "or"; readonly left: Expression; readonly right: Expression }
  | { readonly type: "not"; readonly operand: Expression }
  | { readonly type: "compare"; readonly first: Expression; readonly rest: readonly Comparison[] }
  | {
      readonly type: "binary";
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly type: "unary"; readonly operator: "+" | "-"; readonly operand: Expression }
  | {
      readonly type: "concat";
      readonly parts: readonly Expression[];
      /** Then markup among the parts is a text like any other. */
      readonly isConstant: boolean;
    }
  | { readonly type: "attribute"; readonly object: Expression; readonly name: string }
  | { readonly type: "item"; readonly object: Expression; readonly key: Expression }
  | {
      readonly type: "slice";
      readonly object: Expression;
      /** Start, stop, step. */
      readonly bounds: readonly (Expression | undefined)[];
    }
  | Call
  | Filter
  | ({ readonly type: "test"; readonly operand: Expression; readonly name: string } & Arguments);

export type BinaryOperator = "+" | "-" | "*" | "/" | "//" | "%" | "**";
export type ComparisonOperator = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in";

export interface Comparison {
  readonly operator: ComparisonOperator;
  readonly operand: Expression;
}

export interface Arguments {
  readonly args: readonly Expression[];
  readonly keywords: readonly (readonly [name: string, Expression])[];
  /** `*args` and `**kwargs`. */
  readonly spread: Expression | undefined;
  readonly spreadKeywords: Expression | undefined;
}

type Call = { readonly type: "call"; readonly callee: Expression } & Arguments;

/** Without an operand it takes the text of its block. */
export type Filter = {
  readonly type: "filter";
  readonly operand: Expression | undefined;
  readonly name: string;
} & Arguments;

export type Target =
  | { readonly type: "name"; readonly name: string }
  | { readonly type: "attribute"; readonly name: string; readonly attribute: string }
  | { readonly type: "tuple"; readonly items: readonly Target[] };

/**
 * Statements with a scope of their own. `hidden`: names that the scope assigns before it reads them
 * and that no scope around it knows. Python makes them local, so that a variable of the same name
 * outside is not seen there, not even in an inner scope that is run before the assignment.
 */
export interface Body {
  readonly statements: readonly Statement[];
  hidden: readonly string[];
}

export interface Signature {
  readonly parameters: readonly string[];
  /** Default values of the last parameters. */
  readonly defaults: readonly Expression[];
}

export interface MacroDefinition extends Signature {
  /** Undefined for what `call` gives as `caller`. */
  readonly name: string | undefined;
  readonly body: Body;
  /** Of `caller`, `kwargs` and `varargs`, those that the body reads. */
  specials: ReadonlySet<string>;
}

export type Statement =
  | { readonly type: "data"; readonly text: string }
  | { readonly type: "output"; readonly expression: Expression }
  | { readonly type: "set"; readonly target: Target; readonly value: Expression }
  | {
      readonly type: "set-block";
      readonly target: Target;
      readonly filter: Filter | undefined;
      readonly body: Body;
    }
  | For
  | {
      readonly type: "if";
      readonly branches: readonly {
        readonly test: Expression;
        readonly body: readonly Statement[];
      }[];
      readonly otherwise: readonly Statement[];
    }
  | ({ readonly type: "macro"; readonly name: string } & MacroDefinition)
  | { readonly type: "call-block"; readonly call: Call; readonly caller: MacroDefinition }
  | { readonly type: "generation"; readonly caller: MacroDefinition }
  | { readonly type: "filter-block"; readonly filter: Filter; readonly body: Body }
  | {
      readonly type: "with";
      readonly targets: readonly Target[];
      readonly values: readonly Expression[];
      readonly body: Body;
    }
  | { readonly type: "autoescape"; readonly value: Expression; readonly body: Body }
  | Block
  | {
      /** What reads other files. */
      readonly type: "files";
      readonly tag: string;
      /** Names that it would have assigned. */
      readonly names: readonly string[];
    }
  | { readonly type: "break" | "continue" };

export interface For {
  readonly type: "for";
  readonly target: Target;
  readonly iterable: Expression;
  readonly test: Expression | undefined;
  readonly isRecursive: boolean;
  readonly body: Body;
  readonly otherwise: Body;
}

export interface Block {
  readonly type: "block";
  readonly name: string;
  readonly isScoped: boolean;
  readonly isRequired: boolean;
  readonly body: Body;
}

export interface Template {
  readonly body: Body;
  readonly blocks: ReadonlyMap<string, Block>;
}
