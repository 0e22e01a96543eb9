// A message of a conversation.
// In this room: texts made to fit, by a tokenizer and, for summaries, a model that is handed in.
// Not in it: how messages are rendered for a model (engine/chat), and files of the command line.

import { UserError } from "../../errors.ts";
import { hint, invalid, isRecord, quoteValue, type Reader } from "../../option-reader.ts";

/** The author of a message. */
export type Role = "system" | "user" | "assistant";

export const ROLES: readonly Role[] = ["system", "user", "assistant"];

/** A message of a conversation. */
export interface Message {
  readonly role: Role;
  readonly content: string;
}

/** Messages as a script gives them; fields other than `role` and `content` are left out. */
export const messagesReader: Reader<Message[]> = (value, name) => {
  if (!Array.isArray(value)) throw invalid(name, value, "an array of { role, content }");
  return Array.from(value, readMessage);
};

/** Checks a message of any origin; errors count messages from 1. */
export function readMessage(value: unknown, index: number): Message {
  const place = `Message ${index + 1}`;
  if (!isRecord(value)) {
    throw new UserError(`${place} is ${quoteValue(value)}: expected { "role", "content" }.`);
  }
  const { role, content } = value;
  if (!isRole(role)) {
    const found = role === undefined ? "has no role" : `has the role ${quoteValue(role)}`;
    const end = hint(role, ROLES);
    throw new UserError(`${place} ${found}: expected one of ${ROLES.join(", ")}${end}`);
  }
  if (typeof content !== "string") {
    const found =
      content === undefined ? "has no content" : `has ${quoteValue(content)} for its content`;
    throw new UserError(`${place} (${role}) ${found}: expected a text.`);
  }
  return { role, content };
}

function isRole(value: unknown): value is Role {
  return ROLES.includes(value as Role);
}
