// The history of entries in chats on terminals: a file in the user's state directory, one JSON
// entry a line.

import { readFile, stat } from "node:fs/promises";
import { UserError } from "../../errors.ts";
import { reason } from "../../platform/file.ts";
import { makeFolderOf, userFile } from "../../platform/user-file.ts";
import { writeWholeFile } from "../../platform/write-file.ts";
import { note } from "../terminal/terminal.ts";
import { plainText } from "./paste-reader.ts";

const MAX_ENTRIES = 1000;
/** Characters of all entries; a longer one is not kept. */
const LARGEST = 2 ** 19;
/** Another chat may write between reading and writing. */
const ATTEMPTS = 5;

/**
 * $XDG_STATE_HOME/dawnstream/chat-history, or that below ~/.local/state. Throws if a user has no
 * home.
 */
export function historyFile(env?: NodeJS.ProcessEnv): string {
  return userFile("state", "chat-history", env);
}

/** The entries of a file, the oldest first. Invalid lines are left out. */
export function parseHistory(text: string): string[] {
  return text.split("\n").flatMap((line) => {
    try {
      const entry: unknown = JSON.parse(line);
      return typeof entry === "string" ? [plainText(entry)] : [];
    } catch {
      return [];
    }
  });
}

export function writeHistory(entries: readonly string[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join("");
}

/**
 * Appends later entries to earlier ones, keeping the last of equal texts, and drops the oldest
 * beyond the limit.
 */
export function joinHistories(earlier: readonly string[], later: readonly string[]): string[] {
  const kept: string[] = [];
  let characters = 0;
  for (const entry of new Set([...earlier, ...later].reverse())) {
    if (entry.length > LARGEST) continue;
    characters += entry.length;
    if (kept.length === MAX_ENTRIES || characters > LARGEST) break;
    kept.push(entry);
  }
  return kept.reverse();
}

export class ChatHistory {
  /** Undefined if nothing is kept. */
  #path: string | undefined;
  #found: readonly string[] = [];
  /** In this chat, the oldest first. */
  #entered: readonly string[] = [];

  /**
   * Reads the file; says on stderr, in a line, if it cannot. `file` undefined: keeps the history of
   * this chat only.
   */
  static async open(file?: () => string): Promise<ChatHistory> {
    const history = new ChatHistory();
    await history.#trying(async () => {
      history.#path = file?.();
      if (history.#path !== undefined) history.#found = await read(history.#path);
    });
    return history;
  }

  /** The newest first. */
  get entries(): readonly string[] {
    return joinHistories(this.#found, this.#entered).reverse();
  }

  /** Keeps an entry, in the file too. */
  async add(entry: string): Promise<void> {
    this.#entered = joinHistories(this.#entered, [entry]);
    await this.#trying(() => this.#write());
  }

  /**
   * Keeps entries that other chats wrote meanwhile, and restores those of this chat that they
   * overwrote.
   */
  async #write(): Promise<void> {
    if (this.#path === undefined) return;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = new Set(await read(this.#path));
      const all = joinHistories([...found], this.#entered);
      if (attempt > 0 && all.every((entry) => found.has(entry))) return;
      await makeFolderOf(this.#path);
      await writeWholeFile(this.#path, writeHistory(all), 0o600);
    }
  }

  /** A failure is reported once, and not tried again. */
  async #trying(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#path = undefined;
      const why = error instanceof UserError ? error.message : `${reason(error)}.`;
      note(`warning: The history of chats is not kept: ${why}`);
    }
  }
}

/** A device such as /dev/null holds nothing. */
async function read(path: string): Promise<string[]> {
  try {
    const stats = await stat(path);
    if (stats.isCharacterDevice()) return [];
    if (!stats.isFile()) throw new UserError(`${path} is no regular file.`);
    return parseHistory(await readFile(path, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    if (error instanceof UserError) throw error;
    throw new UserError(`Cannot read ${path}: ${reason(error)}.`);
  }
}
