// Every type that a public signature names can be imported: read from the declarations that the package ships.

import { join, sep } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { ensureBuilt, ROOT } from "./support/build.ts";

/** What engines, sequences and prefix caches are made with: nothing that a user makes. */
const INNER = [
  ...["Platform", "ModelFile", "LoadedModel"],
  ...["Sequences", "SequenceSpace", "IdlePrefixes", "PageTable"],
];

await ensureBuilt();
const entry = join(ROOT, "dist/index.d.ts");
const program = ts.createProgram([entry], {
  module: ts.ModuleKind.NodeNext,
  target: ts.ScriptTarget.ES2023,
  types: ["node", "@webgpu/types"],
  typeRoots: [join(ROOT, "node_modules/@types"), join(ROOT, "node_modules")],
});
const checker = program.getTypeChecker();

const declared = (symbol: ts.Symbol) =>
  symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
const isOurs = (node: ts.Node) =>
  node.getSourceFile().fileName.split("/").join(sep).startsWith(join(ROOT, "dist"));

/** The names of types in a declaration, but for its own parameters. */
function typesIn(node: ts.Node): ts.Symbol[] {
  const name = ts.isTypeReferenceNode(node)
    ? node.typeName
    : ts.isExpressionWithTypeArguments(node)
      ? node.expression
      : undefined;
  const symbol = name && checker.getSymbolAtLocation(name);
  const found = symbol ? [declared(symbol)] : [];
  ts.forEachChild(node, (child) => void found.push(...typesIn(child)));
  return found.filter(({ declarations = [] }) =>
    declarations.some((each) => isOurs(each) && !ts.isTypeParameterDeclaration(each)),
  );
}

test("every type that a public signature names is exported", () => {
  const main = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!;
  const exported = new Set(checker.getExportsOfModule(main).map(declared));
  expect(exported.size).toBeGreaterThan(100);
  // `Engine` is exported as a value that loads and as the type of what it loads.
  const engine = [...exported].find(({ name }) => name === "Engine")!;
  for (const symbol of engine.declarations!.flatMap(typesIn)) {
    if (symbol.name === "Engine") exported.add(symbol);
  }
  const missing = [...exported].flatMap(({ name, declarations = [] }) =>
    declarations
      .flatMap(typesIn)
      .filter((symbol) => !exported.has(symbol) && !INNER.includes(symbol.name))
      .map((symbol) => `${symbol.name}, of ${name}`),
  );
  expect(missing).toEqual([]);
});
