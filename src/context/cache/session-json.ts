// A saved session as JSON, without its ids and the bytes of its pages. JSON is untrusted: what
// `encodeSession` cannot have written is refused.

import { UserError } from "../../errors.ts";
import { KV_TYPES } from "../../kernels/attention/kv-types.ts";
import {
  group,
  invalid,
  listOf,
  needed,
  type Reader,
  type Readers,
  readOptions,
  text,
  whole,
  word,
} from "../../option-reader.ts";
import type { AttentionPolicy } from "../positions/attention-policy.ts";
import { messagesReader } from "../text/message.ts";
import { KEY_STORAGES } from "./rotations.ts";
import { checkPages, type MadeBy, type SavedChat, type SavedSession } from "./saved-session.ts";

/**
 * JSON is mostly the messages of a chat: a million tokens of them are about 5 MB, and the rendered
 * text is there twice beside them. Parsed, 16 MiB take 200 MB at worst ("[[],[],…").
 */
export const MAX_JSON_BYTES = 16 * 2 ** 20;

/** Arrays and objects within each other; a session has 5 at most. */
const MAX_JSON_DEPTH = 8;

/**
 * The JSON of a session, without its ids: a multiple of 4 bytes. JSON has no Infinity, so that an
 * endless window is null. Throws a `UserError` that says which field is wrong, or that the chat is too large.
 */
export function encodeSession(session: SavedSession): Uint8Array {
  const text = JSON.stringify(plain(session));
  const padding = (4 - (new TextEncoder().encode(text).length % 4)) % 4;
  const json = new TextEncoder().encode(text + " ".repeat(padding)); // JSON may end in spaces
  if (json.length > MAX_JSON_BYTES) {
    throw new UserError(
      `its conversation has ${json.length} bytes as JSON, at most ${MAX_JSON_BYTES} can be`,
    );
  }
  decodeSession(json, session.ids); // what is written can be read
  return json;
}

/** In JSON's types, and without fields that the caller's objects have beside. */
function plain({ madeBy, length, pages, chat }: SavedSession) {
  const { policy, groups, fingerprint, model, keys, kv, pageSize, pageBytes } = madeBy;
  const { name, sinks } = policy;
  return {
    madeBy: {
      ...{ fingerprint, model, keys, kv, pageSize, pageBytes },
      policy: { name, sinks, window: orNull(policy.window) },
      groups: groups.map(({ layers, window }) => ({ layers, window: orNull(window) })),
    },
    length,
    pages,
    chat: chat && { messages: chat.messages, spoken: chat.spoken && plainSpoken(chat.spoken) },
  };
}

function plainSpoken({ rendered, guard }: NonNullable<SavedChat["spoken"]>) {
  return { rendered, guard };
}

function orNull(window: number): number | null {
  return window === Number.POSITIVE_INFINITY ? null : window;
}

/**
 * The session that `encodeSession` has written, with its ids. Throws a `UserError` that says which
 * field is wrong.
 */
export function decodeSession(json: Uint8Array, ids: Uint32Array): SavedSession {
  if (depthOf(json) > MAX_JSON_DEPTH) {
    throw new UserError(`its JSON is nested more than ${MAX_JSON_DEPTH} levels deep`);
  }
  const session = { ...readOptions("the session", parse(json), SESSION), ids };
  checkPages(session);
  return session;
}

function parse(json: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch {
    throw new UserError("its header is not JSON");
  }
}

/** How deeply arrays and objects are nested in JSON. */
function depthOf(json: Uint8Array): number {
  let [depth, deepest, isText] = [0, 0, false];
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    if (byte === QUOTE) isText = !isText;
    else if (isText) i += byte === BACKSLASH ? 1 : 0;
    else if (OPENING.includes(byte!)) deepest = Math.max(deepest, ++depth);
    else if (CLOSING.includes(byte!)) depth--;
  }
  return deepest;
}

const [QUOTE, BACKSLASH] = new TextEncoder().encode('"\\');
const OPENING = new TextEncoder().encode("[{");
const CLOSING = new TextEncoder().encode("]}");

// ---- readers

const positions = listOf(whole(0), "an array of whole numbers");

/** Tokens that a query sees: at least its own; null for all. */
const window: Reader<number> = (value, name) =>
  value === null ? Number.POSITIVE_INFINITY : whole(1)(value, name);

const sha256: Reader<string> = (value, name) => {
  if (typeof value === "string" && /^[0-9a-f]{64}$/.test(value)) return value;
  throw invalid(name, value, "64 hexadecimal digits");
};

/** Keys and values have the same number of bytes. */
const evenBytes: Reader<number> = (value, name) => {
  const bytes = whole(2)(value, name);
  if (bytes % 2 === 0) return bytes;
  throw invalid(name, value, "an even number");
};

const GROUP = {
  layers: needed(positions),
  window: needed(window),
} satisfies Readers<MadeBy["groups"][number]>;

const POLICY = {
  name: needed(text),
  sinks: needed(whole(0)),
  window: needed(window),
} satisfies Readers<AttentionPolicy>;

const MADE_BY = {
  fingerprint: needed(sha256),
  model: needed(text),
  policy: needed(group(POLICY)),
  keys: needed(word(KEY_STORAGES)),
  kv: needed(word(KV_TYPES)),
  pageSize: needed(whole(1)),
  pageBytes: needed(evenBytes),
  groups: needed(listOf(group(GROUP), "an array of groups of layers")),
} satisfies Readers<MadeBy>;

const SPOKEN = {
  rendered: needed(listOf(text, "an array of texts")),
  guard: needed(text),
} satisfies Readers<NonNullable<SavedChat["spoken"]>>;

const CHAT = {
  messages: needed(messagesReader),
  spoken: group(SPOKEN),
} satisfies Readers<SavedChat>;

const SESSION = {
  madeBy: needed(group(MADE_BY)),
  length: needed(whole(0)),
  pages: needed(listOf(positions, "an array of a list for each group of layers")),
  chat: group(CHAT),
} satisfies Readers<Omit<SavedSession, "ids">>;
