// Counts what a reader of the code meets, each figure beside its rule, for one checkout or for
// several side by side (each with its node_modules).
// usage: node scripts/structure.mjs [--list] [ROOT...]    --list prints what was counted, on stderr
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import ts from "typescript";
import { circlesOf, filesOf, foldersOf, importsOf } from "./source-tree.mjs";

/** The operations on a sequence that each of four layers once declared, and what replaces them. */
const OPERATIONS = {
  before: [
    "step",
    "top",
    "chosen",
    "choose",
    "hidden",
    "probe",
    "truncate",
    "sequence",
    "stepLimit",
  ],
  after: ["run", "append", "fork", "clear"],
};
/** Where they are declared. Chats, texts and tokenizers mean something else by these words. */
const OPERATING = /^(engine|context)\/(?!chat|text|tokenizer)/;
const ALIKE = 6; // lines that are alike in two places before they count as a repetition

const home = fileURLToPath(new URL("..", import.meta.url));

/** Files in which a function runs on the way from a prompt to its tokens, see token-path.mjs. */
function tokenPath(root) {
  const script = fileURLToPath(new URL("token-path.mjs", import.meta.url));
  const out = execFileSync(process.execPath, ["--import", "tsx", script, root], {
    cwd: home,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  return JSON.parse(out);
}

function parse(source, file) {
  const text = readFileSync(join(source, file), "utf8");
  return ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
}

/** Whether a node declares a function, or a member of a class or a type that is not private. */
function isDeclaration(node) {
  if (node.name === undefined || !ts.isIdentifier(node.name)) return false;
  const ofFunctions = ts.isPropertySignature(node) || ts.isPropertyDeclaration(node);
  return (
    ts.isMethodDeclaration(node) ||
    ts.isMethodSignature(node) ||
    ts.isGetAccessorDeclaration(node) ||
    ts.isFunctionDeclaration(node) ||
    (ofFunctions && node.type !== undefined && ts.isFunctionTypeNode(node.type))
  );
}

/** Places under engine and context where one of `names` is declared, overloads once. */
function declarationsOf(source, files, names) {
  const places = new Set();
  const visit = (file, node) => {
    if (isDeclaration(node) && names.includes(node.name.text)) {
      places.add(`${file}: ${ownerOf(node)}${node.name.text}`);
    }
    ts.forEachChild(node, (child) => visit(file, child));
  };
  for (const file of files) {
    if (OPERATING.test(file) && file.endsWith(".ts")) visit(file, parse(source, file));
  }
  return [...places];
}

function ownerOf(node) {
  for (let at = node.parent; at; at = at.parent) {
    const isNamed = ts.isClassLike(at) || ts.isInterfaceDeclaration(at);
    if (isNamed || ts.isTypeAliasDeclaration(at) || ts.isFunctionDeclaration(at)) {
      return at.name ? `${at.name.text}.` : "";
    }
  }
  return "";
}

/** Members of an engine, inherited ones included, that a program outside of it can name. */
function publicMembers(root) {
  const entry = join(root, "src/index.ts");
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const program = ts.createProgram([entry], options);
  const checker = program.getTypeChecker();
  const exported = checker.getExportsOfModule(
    checker.getSymbolAtLocation(program.getSourceFile(entry)),
  );
  const engine = exported.find(({ name }) => name === "Engine");
  const isPublic = ({ declarations = [] }) =>
    declarations.every(
      (declaration) =>
        !(declaration.name && ts.isPrivateIdentifier(declaration.name)) &&
        !(
          ts.getCombinedModifierFlags(declaration) & ts.ModifierFlags.NonPublicAccessibilityModifier
        ),
    );
  return checker
    .getDeclaredTypeOfSymbol(engine)
    .getProperties()
    .filter(isPublic)
    .map(({ name }) => name.replace(/^__@(\w+)@\d+$/, "[Symbol.$1]"));
}

/** The lines of a file without blank ones and imports, each with its white space made one blank. */
function linesOf(source, file) {
  const text = readFileSync(join(source, file), "utf8");
  const lines = text.split("\n").map((line) => line.trim().replace(/\s+/g, " "));
  if (file.endsWith(".ts")) {
    const parsed = parse(source, file);
    for (const statement of parsed.statements) {
      if (!ts.isImportDeclaration(statement)) continue;
      const [first, last] = [statement.getStart(), statement.end].map(
        (at) => parsed.getLineAndCharacterOfPosition(at).line,
      );
      lines.fill("", first, last + 1);
    }
  }
  return lines.flatMap((line, i) => (line === "" ? [] : [{ file, number: i + 1, line }]));
}

/** Pairs of places with ALIKE or more equal lines in a row, and how many lines take part in one. */
function repetition(source, files) {
  const sources = files.filter((file) => /\.(ts|wgsl)$/.test(file));
  const texts = sources.map((file) => linesOf(source, file));
  const places = new Map();
  for (const lines of texts) {
    for (let at = 0; at + ALIKE <= lines.length; at++) {
      const key = JSON.stringify(lines.slice(at, at + ALIKE).map(({ line }) => line));
      places.set(key, [...(places.get(key) ?? []), { lines, at }]);
    }
  }
  const pairs = [];
  const repeated = new Set();
  for (const same of places.values()) {
    for (const [i, one] of same.entries()) {
      for (const other of same.slice(i + 1)) {
        const alike = (by) =>
          one.lines[one.at + by]?.line === other.lines[other.at + by]?.line &&
          one.lines[one.at + by] !== undefined;
        if (alike(-1)) continue; // a part of a longer pair
        let count = ALIKE;
        while (alike(count)) count++;
        // A list that goes on alike is one place.
        if (one.lines === other.lines && other.at - one.at < count) continue;
        for (let by = 0; by < count; by++) {
          repeated.add(one.lines[one.at + by]).add(other.lines[other.at + by]);
        }
        pairs.push(`${count} lines: ${placeOf(one)} and ${placeOf(other)}`);
      }
    }
  }
  const count = (file) => readFileSync(join(source, file), "utf8").split("\n").length - 1;
  const all = sources.reduce((sum, file) => sum + count(file), 0);
  return { pairs, lines: repeated.size, all };
}

const placeOf = ({ lines, at }) => `${lines[at].file}:${lines[at].number}`;

/** Rows of a rule, the figure by it, and what was counted, if that is a list. */
function figuresOf(root) {
  const source = join(root, "src");
  const files = filesOf(source);
  const folders = foldersOf(files);
  const largest = (by) => {
    const most = folders.reduce((most, one) => (one[by] > most[by] ? one : most));
    return `${most[by]} (${most.folder})`;
  };
  const counted = (rule, list) => [rule, list.length, list];
  const path = tokenPath(root);
  const { before, after } = OPERATIONS;
  const { pairs, lines, all } = repetition(source, files);
  const circles = circlesOf(importsOf(source, files)).map((circle) => circle.join(" -> "));
  return [
    counted("files from prompt to token, in which a function runs", path.all),
    counted("of them, those in which one runs from a later token to the next", path.later),
    counted(
      `declarations of ${before.join(", ")} in engine and context`,
      declarationsOf(source, files, before),
    ),
    counted(`declarations of ${after.join(", ")} there`, declarationsOf(source, files, after)),
    counted("public members of Engine, inherited ones included", publicMembers(root)),
    counted("circles of imports, types included", circles),
    ["files of the largest folder", largest("files")],
    ["the same, a weight format's pair aside", largest("unpaired")],
    counted(
      `pairs of places with ${ALIKE} or more equal lines, but imports and blank lines`,
      pairs,
    ),
    [
      "lines that take part in them, of all lines of src",
      `${lines} of ${all}, ${((100 * lines) / all).toFixed(2)} %`,
    ],
  ];
}

const { values, positionals } = parseArgs({
  options: { list: { type: "boolean", default: false } },
  allowPositionals: true,
});
const roots = positionals.length > 0 ? positionals.map((root) => resolve(root)) : [home];
const checkouts = roots.map(figuresOf);
for (const [i, [rule]] of checkouts[0].entries()) {
  console.log(`${rule}: ${checkouts.map((figures) => figures[i][1]).join(" -> ")}`);
  if (!values.list) continue;
  for (const [j, figures] of checkouts.entries()) {
    for (const one of figures[i][2] ?? []) console.error(`    ${roots[j]}: ${one}`);
  }
}
