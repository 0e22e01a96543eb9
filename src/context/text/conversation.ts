// Conversations as files: JSON, or JSON Lines with a message on each. Whoever wrote one is not trusted: everything is
// checked, and what is wrong is told with its place.

import { UserError } from "../../errors.ts";
import { type Message, ROLES, type Role } from "./message.ts";

const FORMS =
  'expected a JSON array of { "role", "content" }, an object whose "messages" is one, or JSON Lines';

/**
 * The messages of a JSON array, of an object whose `messages` is one, or of JSON Lines; fields other than `role` and
 * `content` are left out. Throws a `UserError` of one line that names the message, or the line, where something is wrong.
 */
export function readConversation(text: string): Message[] {
  const values = messagesOf(text.trim());
  if (values.length === 0) throw new UserError(`A conversation without messages: ${FORMS}.`);
  return values.map(readMessage);
}

/** A conversation as JSON, a message on each line, so that it can be read, compared and edited. */
export function writeConversation(conversation: readonly Message[]): string {
  const lines = conversation.map(({ role, content }) => `  ${JSON.stringify({ role, content })}`);
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
  if (isObject(value)) {
    if (Array.isArray(value.messages)) return value.messages;
    if ("role" in value) return [value]; // JSON Lines of one line
  }
  throw new UserError(`Not a conversation but ${describe(value)}: ${FORMS}.`);
}

/** What stands on a line of JSON Lines: a message, or nothing. */
function readLine(line: string, index: number): unknown[] {
  if (line.trim() === "") return [];
  try {
    return [JSON.parse(line)];
  } catch (error) {
    throw new UserError(`Line ${index + 1} is not JSON (${reason(error)}): ${FORMS}.`);
  }
}

function readMessage(value: unknown, index: number): Message {
  const place = `Message ${index + 1}`;
  if (!isObject(value)) {
    throw new UserError(`${place} is ${describe(value)}: expected { "role", "content" }.`);
  }
  const { role, content } = value;
  if (!isRole(role)) {
    const found = role === undefined ? "has no role" : `has the role ${describe(role)}`;
    throw new UserError(`${place} ${found}: expected one of ${ROLES.join(", ")}.`);
  }
  if (typeof content !== "string") {
    const found =
      content === undefined ? "has no content" : `has ${describe(content)} for its content`;
    throw new UserError(`${place} (${role}) ${found}: expected a text.`);
  }
  return { role, content };
}

function isRole(value: unknown): value is Role {
  return ROLES.includes(value as Role);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** So much of a wrong text is shown. */
const SHOWN = 40;

function describe(value: unknown): string {
  if (typeof value === "string") {
    return JSON.stringify(value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value);
  }
  if (Array.isArray(value)) return "an array";
  return isObject(value) ? "an object" : String(value);
}

/** The parser's words, in one line: it quotes the text. */
function reason(error: unknown): string {
  return (error as Error).message.replaceAll(/\s+/g, " ");
}
