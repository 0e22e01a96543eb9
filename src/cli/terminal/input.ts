// Files that a user names.

import { readFile } from "node:fs/promises";
import { UserError } from "../../errors.ts";
import { reason } from "../../platform/file.ts";
import { writeWholeFile } from "../../platform/write-file.ts";

/** The bytes of a file, or a `UserError` that says in one line why not. */
export async function readBytes(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${reason(error)}.`);
  }
}

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** The text of a UTF-8 file; "-" is stdin. */
export async function readText(path: string): Promise<string> {
  const bytes = path === "-" ? await readStdin() : await readBytes(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new UserError(`Cannot read ${nameOf(path)}: it is not UTF-8 text.`);
  }
}

/** A text, and what people call where it is from. */
interface NamedText {
  readonly name: string;
  readonly text: string;
}

/**
 * The text of a file that is named as an argument or in --file, "-" for stdin; without either, of a
 * pipe. Throws a `UserError` if there is no text, or two.
 */
export async function givenFile(
  argument: string | undefined,
  file: string | undefined,
): Promise<NamedText> {
  if (argument !== undefined && file !== undefined) {
    throw new UserError("Two texts: give either FILE or --file FILE.");
  }
  return (await namedOrPiped(argument ?? file)) ?? noText("FILE");
}

/** The same if the argument is the text itself, "-" for stdin. */
export async function givenText(
  argument: string | undefined,
  file: string | undefined,
): Promise<string> {
  if (argument !== undefined && file !== undefined) {
    throw new UserError("Two texts: give either TEXT or --file FILE.");
  }
  if (argument !== undefined && argument !== "-") return argument;
  return ((await namedOrPiped(argument ?? file)) ?? noText("TEXT")).text;
}

/**
 * A text as `givenText` has it for a model to continue: a file's or a pipe's loses its one last
 * line break.
 */
export async function givenPrompt(
  argument: string | undefined,
  file: string | undefined,
): Promise<string> {
  return asPrompt(await givenText(argument, file), argument);
}

/** The same if there may be none: the empty text then. */
export async function givenPromptOrNone(
  argument: string | undefined,
  file: string | undefined,
): Promise<string> {
  if (argument !== undefined || file !== undefined) return givenPrompt(argument, file);
  return asPrompt((await namedOrPiped(undefined))?.text ?? "", undefined);
}

function asPrompt(text: string, argument: string | undefined): string {
  return text === argument ? text : text.replace(/\r?\n$/, "");
}

async function namedOrPiped(path: string | undefined): Promise<NamedText | undefined> {
  if (path !== undefined) return { name: nameOf(path), text: await readText(path) };
  const text = process.stdin.isTTY === true ? "" : await readText("-");
  return text === "" ? undefined : { name: "stdin", text };
}

function noText(argument: string): never {
  throw new UserError(`No text: give ${argument}, --file FILE, or a text by a pipe.`);
}

/** The name of a file for messages. */
export function nameOf(path: string): string {
  return path === "-" ? "stdin" : path;
}

/** What `read` makes of a UTF-8 file; its `UserError` names the file too. */
export async function readUserFile<T>(path: string, read: (text: string) => T): Promise<T> {
  return readNamed({ name: nameOf(path), text: await readText(path) }, read);
}

/** What `read` makes of a text; its `UserError` names the text's source. */
export function readNamed<T>({ name, text }: NamedText, read: (text: string) => T): T {
  try {
    return read(text);
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${name}: ${error.message}`);
    throw error;
  }
}

/** A JSON array of token ids, or an object whose `tokens` is one. */
export async function readTokens(path: string): Promise<number[]> {
  const text = await readText(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(`Cannot read ${path}: it is not JSON (${(error as Error).message}).`);
  }
  const ids = Array.isArray(value) ? value : (value as { tokens?: unknown } | null)?.tokens;
  if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id) && id >= 0)) {
    throw new UserError(
      `${path}: expected a JSON array of token ids, or an object with one named "tokens".`,
    );
  }
  return ids as number[];
}

/** Rows of numbers and plain words as CSV. */
export function writeCsv(
  path: string,
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): Promise<void> {
  return writeWholeFile(path, `${[head, ...rows].map((row) => row.join(",")).join("\n")}\n`);
}
