import type { Arguments, Expression } from "./nodes.ts";

/**
 * Filters that Jinja2 gives its context, so that it does not apply them before the template is run.
 */
const LATE: ReadonlySet<string> = new Set([
  "map",
  "random",
  "reject",
  "rejectattr",
  "select",
  "selectattr",
]);

/**
 * Whether Jinja2 evaluates an expression when it compiles the template, by rules that differ a
 * little.
 */
export function isConstant(expression: Expression): boolean {
  if (expression.type === "name" || expression.type === "call") return false;
  if (expression.type === "filter" && LATE.has(expression.name)) return false;
  return childrenOf(expression).every(isConstant);
}

/** The expressions that an expression is made of. */
export function childrenOf(expression: Expression): readonly Expression[] {
  const given = ({ args, keywords, spread, spreadKeywords }: Arguments) =>
    [...args, ...keywords.map(([, value]) => value), spread, spreadKeywords].filter(isThere);
  switch (expression.type) {
    case "const":
    case "name":
      return [];
    case "tuple":
    case "list":
      return expression.items;
    case "dict":
      return expression.pairs.flat();
    case "conditional":
      return [expression.test, expression.then, expression.otherwise].filter(isThere);
    case "and":
    case "or":
    case "binary":
      return [expression.left, expression.right];
    case "not":
    case "unary":
      return [expression.operand];
    case "compare":
      return [expression.first, ...expression.rest.map(({ operand }) => operand)];
    case "concat":
      return expression.parts;
    case "attribute":
      return [expression.object];
    case "item":
      return [expression.object, expression.key];
    case "slice":
      return [expression.object, ...expression.bounds.filter(isThere)];
    case "call":
      return [expression.callee, ...given(expression)];
    case "filter":
      return [expression.operand, ...given(expression)].filter(isThere);
    case "test":
      return [expression.operand, ...given(expression)];
  }
}

function isThere(expression: Expression | undefined): expression is Expression {
  return expression !== undefined;
}
