// Conversations as files: JSON, or JSON Lines with a message on each. The files are not trusted:
// everything is checked, and errors say where.

import { UserError } from "../../errors.ts";
import { isRecord, quoteValue, text as textReader } from "../../option-reader.ts";
import { type Message, messagesReader, readMessage } from "./message.ts";

const FORMS =
  'expected a JSON array of { "role", "content" }, an object whose "messages" is one, or JSON Lines';

/**
 * The messages of a JSON array, of an object whose `messages` is one, or of JSON Lines; fields
 * other than `role` and `content` are left out. Throws a `UserError` of one line with the number of
 * the wrong message or line.
 */
export function readConversation(text: string): Message[] {
  const values = messagesOf(textReader(text, "conversation").trim());
  if (values.length === 0) throw new UserError(`A conversation without messages: ${FORMS}.`);
  return values.map(readMessage);
}

/** A conversation as JSON, a message on each line, so that it can be read, compared and edited. */
export function writeConversation(conversation: readonly Message[]): string {
  const lines = messagesReader(conversation, "conversation").map(
    ({ role, content }) => `  ${JSON.stringify({ role, content })}`,
  );
  return `[\n${lines.join(",\n")}\n]\n`;
}

function messagesOf(text: string): readonly unknown[] {
  if (text === "") throw new UserError(`An empty conversation: ${FORMS}.`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const lines = text.split(/\r?\n/);
    if (lines.length > 1 && isJson(lines[0]!)) return lines.flatMap(readLine);
    throw new UserError(`Not JSON (${reason(error)}): ${FORMS}.`);
  }
  if (Array.isArray(value)) return value;
  if (isRecord(value)) {
    if (Array.isArray(value.messages)) return value.messages;
    if ("role" in value) return [value]; // JSON Lines of one line
  }
  throw new UserError(`Not a conversation but ${quoteValue(value)}: ${FORMS}.`);
}

/** Reads a line of JSON Lines: a message, or nothing. */
function readLine(line: string, index: number): unknown[] {
  if (line.trim() === "") return [];
  try {
    return [JSON.parse(line)];
  } catch (error) {
    throw new UserError(`Line ${index + 1} is not JSON (${reason(error)}): ${FORMS}.`);
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The parser's message, in one line, since it quotes the text. */
function reason(error: unknown): string {
  return (error as Error).message.replaceAll(/\s+/g, " ");
}
