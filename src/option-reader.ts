// Reads options that a user gives: each options interface has a table with a reader for each of its
// names. Values are read before any work; an error quotes the value and lists what is allowed.

import { OptionError, UserError } from "./errors.ts";

/**
 * Checks a value and returns it in the form that the code works with; throws a `UserError` with its
 * name and value.
 */
export type Reader<T> = (value: unknown, name: string) => T;

/** The reader of an option that must be given. */
type Needed<T> = Reader<T> & { readonly isNeeded: true };

/**
 * The table of an options interface: `{ … } satisfies Readers<GenerateOptions>` does not compile if
 * a name is missing, or if a reader returns a value that the interface does not accept. So options
 * that were read can be read again.
 */
export type Readers<O> = { readonly [K in keyof O]-?: Reader<Exclude<O[K], undefined>> };

type Table = Readonly<Record<string, Reader<unknown>>>;
type NeededNames<R> = { [K in keyof R]: R[K] extends Needed<unknown> ? K : never }[keyof R];
type Values<R> = { readonly [K in keyof R]: R[K] extends Reader<infer T> ? T : never };

/**
 * The options that `readOptions` returns for a table: every value in one form, without options that
 * were not given.
 */
export type OptionsOf<R> = Values<Pick<R, NeededNames<R>>> &
  Partial<Values<Omit<R, NeededNames<R>>>>;

/**
 * Reads the options of `what`. Throws a `UserError` if they are not an object, if a name is
 * unknown, if a value is refused, or if one that is needed is missing. An option that is undefined
 * counts as not given.
 */
export function readOptions<R extends Table>(
  what: string,
  options: unknown,
  readers: R,
): OptionsOf<R> {
  const given = recordOf(options ?? (options === undefined ? {} : null), `options of ${what}`);
  for (const name in given) {
    if (given[name] !== undefined && !Object.hasOwn(readers, name)) {
      throw unknownOption(what, name, Object.keys(readers));
    }
  }
  const read: Record<string, unknown> = {};
  for (const [name, reader] of Object.entries(readers)) {
    if (given[name] !== undefined || "isNeeded" in reader) read[name] = reader(given[name], name);
  }
  return read as OptionsOf<R>;
}

/** Reads those options of `what` that the table names, and ignores the others. */
export function splitOptions<R extends Table, O extends object>(
  what: string,
  options: O,
  readers: R,
): [own: OptionsOf<R>, others: Omit<O, keyof R>] {
  const given = Object.entries(recordOf(options, `options of ${what}`));
  const isOwn = ([name]: [string, unknown]) => Object.hasOwn(readers, name);
  const own = readOptions(what, Object.fromEntries(given.filter(isOwn)), readers);
  const others = Object.fromEntries(given.filter((entry) => !isOwn(entry)));
  return [own, others as Omit<O, keyof R>];
}

function unknownOption(what: string, name: string, names: readonly string[]): UserError {
  return new UserError(
    `Unknown option ${quoteValue(name)} of ${what}: ${knownNames(name, names)}.`,
  );
}

/**
 * The message for an unknown name: "did you mean topK? There are topK, topP", or only the list if
 * none is similar.
 */
export function knownNames(name: string, names: readonly string[]): string {
  const meant = nearest(name, names);
  const there = meant === undefined ? "there are" : `did you mean ${meant}? There are`;
  return `${there} ${list(names)}`;
}

/** The end of a sentence that lists words: "; did you mean q8_0?", or "." if none is similar. */
export function hint(given: unknown, words: readonly string[]): string {
  const meant = nearest(given, words);
  return meant === undefined ? "." : `; did you mean ${meant}?`;
}

/**
 * "q8_0 or q4_0": the words nearest to the given one, if at most a third of it has to change, or
 * else the words that it is a prefix of. Undefined if there are none, or if it is one of the words.
 */
function nearest(given: unknown, words: readonly string[]): string | undefined {
  if (typeof given !== "string" || given === "" || words.includes(given)) return undefined;
  const name = given.toLowerCase();
  const most = Math.max(1, name.length / 3);
  // No distance is below the difference of the lengths. So a name of megabytes, as an untrusted
  // file may have one, is compared with none.
  const close = words.filter((word) => Math.abs(word.length - name.length) <= most);
  const distances = close.map((word) => editDistance(name, word.toLowerCase()));
  const least = Math.min(...distances);
  const near = close.filter((_, i) => distances[i] === least);
  const begun = words.filter((word) => word.toLowerCase().startsWith(name));
  const meant = least <= most ? near : begun;
  return meant.length === 0 ? undefined : meant.join(" or ");
}

/**
 * The fewest insertions, deletions, replacements and swaps of neighbours that make one text of
 * another (Damerau).
 */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, i) => i)];
  for (let i = 1; i <= a.length; i++) {
    const [above, row] = [rows.at(-1)!, [i]];
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? rows.at(-2)![j - 2]! + 1 : replaced;
      row.push(Math.min(replaced, swapped, above[j]! + 1, row[j - 1]! + 1));
    }
    rows.push(row);
  }
  return rows.at(-1)!.at(-1)!;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}

/**
 * "Invalid maxTokens "200": expected a whole number of at least 1.", with a suggestion if one of
 * several words or kinds is similar.
 */
export function invalid(
  name: string,
  value: unknown,
  expected: string,
  words: readonly string[] = [],
): UserError {
  if (value === undefined) return new UserError(`${name} is missing: expected ${expected}.`);
  // A kind may have details behind it: "window:60".
  const kind = isRecord(value) ? value.kind : typeof value === "string" && value.split(":")[0];
  const end = isPromise(value) ? "; it is a promise: await it first." : hint(kind, words);
  return new OptionError(name, `${quoteValue(value)}: expected ${expected}${end}`);
}

// ---- readers

export function needed<T>(reader: Reader<T>): Needed<T> {
  return Object.assign((value: unknown, name: string) => reader(value, name), {
    isNeeded: true as const,
  });
}

/** A whole number between two bounds, both included. */
export function whole(from: number, to: number = Number.POSITIVE_INFINITY): Reader<number> {
  return (value, name) => {
    if (Number.isSafeInteger(value) && isBetween(value as number, from, to)) return value as number;
    throw invalid(name, value, range("a whole number", from, to));
  };
}

/** A number between two bounds, both included; never NaN or an infinity. */
export function number(from: number, to: number = Number.POSITIVE_INFINITY): Reader<number> {
  return (value, name) => {
    if (Number.isFinite(value) && isBetween(value as number, from, to)) return value as number;
    throw invalid(name, value, range("a number", from, to));
  };
}

/** A number above 0, and of at most `to`. */
export function positive(to: number = Number.POSITIVE_INFINITY): Reader<number> {
  const limit = to === Number.POSITIVE_INFINITY ? "" : `, at most ${to}`;
  return (value, name) => {
    if (Number.isFinite(value) && (value as number) > 0 && (value as number) <= to) {
      return value as number;
    }
    throw invalid(name, value, `a number above 0${limit}`);
  };
}

function isBetween(value: number, from: number, to: number): boolean {
  return value >= from && value <= to;
}

function range(kind: string, from: number, to: number): string {
  return to === Number.POSITIVE_INFINITY
    ? `${kind} of at least ${from}`
    : `${kind} from ${from} to ${to}`;
}

export const yesOrNo: Reader<boolean> = (value, name) => {
  if (typeof value === "boolean") return value;
  throw invalid(name, value, "true or false");
};

export const text: Reader<string> = (value, name) => {
  if (typeof value === "string") return value;
  throw invalid(name, value, "a text");
};

/** One of these words. */
export function word<const W extends string>(words: readonly W[]): Reader<W> {
  return (value, name) => {
    if (words.includes(value as W)) return value as W;
    throw invalid(name, value, `one of ${words.join(", ")}`, words);
  };
}

/** An array, each item read separately; `what` names the list. */
export function listOf<T>(item: Reader<T>, what: string): Reader<T[]> {
  return (value, name) => {
    if (!Array.isArray(value)) throw invalid(name, value, what);
    return Array.from(value, (each, at) => item(each ?? null, `${name}[${at}]`));
  };
}

/** A function; its parameters and result cannot be checked before it is called. */
// biome-ignore lint/suspicious/noExplicitAny: the option decides the type of the function
export const callback: Reader<(...values: any[]) => any> = (value, name) => {
  if (typeof value === "function") return value as () => unknown;
  throw invalid(name, value, "a function");
};

export const abortSignal: Reader<AbortSignal> = (value, name) => {
  // Not by its class: a signal may come from another realm, or from a polyfill.
  if (hasMethods(value, "throwIfAborted", "addEventListener")) return value as AbortSignal;
  throw invalid(name, value, "an AbortSignal, such as new AbortController().signal");
};

/** An object of this class. */
export function instance<T>(
  // biome-ignore lint/suspicious/noExplicitAny: a class with any constructor
  type: abstract new (...values: any[]) => T,
  expected: string,
): Reader<T> {
  return (value, name) => {
    if (value instanceof type) return value;
    throw invalid(name, value, expected);
  };
}

/** An object with these methods, such as a user's own tokenizer. */
export function having<T>(expected: string, ...methods: (keyof T & string)[]): Reader<T> {
  return (value, name) => {
    if (hasMethods(value, ...methods)) return value as T;
    throw invalid(name, value, `${expected}, with ${methods.join(" and ")}`);
  };
}

export function hasMethods(value: unknown, ...names: readonly string[]): boolean {
  if (typeof value !== "object" || value === null) return false;
  return names.every((name) => typeof (value as Record<string, unknown>)[name] === "function");
}

/** An iterable that is not a string. */
export function several<T>(expected: string): Reader<Iterable<T>> {
  return (value, name) => {
    if (typeof value === "object" && value !== null && Symbol.iterator in value) {
      return value as Iterable<T>;
    }
    throw invalid(name, value, expected);
  };
}

/** Token ids; whether a model has these tokens is checked later. */
export const tokenIds: Reader<readonly number[]> = (value, name) => {
  if (Array.isArray(value)) return value;
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    return Array.from(value as Uint32Array);
  }
  throw invalid(name, value, "an array of token ids");
};

export const textOrIds: Reader<string | readonly number[]> = (value, name) => {
  if (typeof value === "string") return value;
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return tokenIds(value, name);
  throw invalid(name, value, "a text or an array of token ids");
};

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** Bytes: a number of them, or a text with a unit: "8GiB", "500MB". */
export const byteSize: Reader<number> = (value, name) => {
  const expected = "a number of bytes, or a size such as 8GiB, 500MB or 1000000";
  if (typeof value === "number" && value >= 0) return value;
  if (typeof value !== "string") throw invalid(name, value, expected);
  const [, amount, unit = ""] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(value.trim()) ?? [];
  const factor = Object.hasOwn(UNITS, unit.toLowerCase()) ? UNITS[unit.toLowerCase()] : undefined;
  if (amount === undefined || factor === undefined) throw invalid(name, value, expected);
  return Math.floor(Number(amount) * factor);
};

/** The options of a part, such as `device` of an engine. */
export function group<R extends Table>(readers: R): Reader<OptionsOf<R>> {
  return (value, name) => readOptions(name, value, readers);
}

// ---- objects of several kinds

/** Whether a field of an object has a valid value; its value is undefined if it is missing. */
type Field = (value: unknown) => boolean;

/**
 * Whether an object's `kind` is in the table, each of its fields as that kind has it, and none
 * besides.
 */
export function isOfKind(
  value: unknown,
  kinds: Readonly<Record<string, Readonly<Record<string, Field>>>>,
): boolean {
  if (!isRecord(value) || typeof value.kind !== "string") return false;
  if (!Object.hasOwn(kinds, value.kind)) return false;
  const fields = kinds[value.kind]!;
  const areKnown = Object.entries(value).every(
    ([name, item]) => name === "kind" || item === undefined || Object.hasOwn(fields, name),
  );
  return areKnown && Object.entries(fields).every(([name, isField]) => isField(value[name]));
}

/** Whether a value is a whole number of at least `least`. */
export function isWhole(value: unknown, least: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

/** An object with names and values: no array, no map, no function. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return Object.prototype.toString.call(value) === "[object Object]";
}

function recordOf(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (isRecord(value)) return value;
  throw invalid(name, value, "an object");
}

function isPromise(value: unknown): boolean {
  return hasMethods(value, "then");
}

// ---- values in messages

/** Characters of a value that a message shows. */
const SHOWN = 80;

/** A value as it stands in a message: quoted, in one line, cut if it is long. */
export function quoteValue(value: unknown): string {
  if (typeof value === "string") {
    return escaped(JSON.stringify(value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value));
  }
  const shown = escaped(format(value, 0));
  return shown.length > SHOWN ? `${shown.slice(0, SHOWN)}…` : shown;
}

/** Escapes characters that would end a line, colour it or reverse its direction. */
function escaped(shown: string): string {
  return shown.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

function format(value: unknown, depth: number): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, SHOWN));
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "function";
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) {
    if (depth > 1) return "[…]";
    return `[${value
      .slice(0, SHOWN)
      .map((item) => format(item, depth + 1))
      .join(", ")}]`;
  }
  const name = value.constructor?.name ?? "Object";
  if (!isRecord(value) || name !== "Object") return typeof name === "string" ? name : "object";
  if (depth > 1) return "{…}";
  const fields = Object.entries(value).map(([key, item]) => `${key}: ${format(item, depth + 1)}`);
  return fields.length === 0 ? "{}" : `{ ${fields.join(", ")} }`;
}
