// The methods of Python's `str`.

import { ITEM_SIZE } from "../../limits.ts";
import { TemplateRuntimeError, UnsupportedError } from "../errors.ts";
import type { Meter } from "../meter.ts";
import { bind, intOf, isTrueOr, optionalInt, optionalString, stringOf } from "./arguments.ts";
import { capitalize, isTitle, swapCase, title } from "./letter-case.ts";
import {
  between,
  countOf,
  escapeHtml,
  expandTabs,
  isSpace,
  lengthOf,
  lines,
  replace,
  strip,
  words,
} from "./texts.ts";
import {
  asNumber,
  asText,
  Callable,
  Dict,
  iterate,
  type Keywords,
  List,
  Markup,
  NO_KEYWORDS,
  Tuple,
  typeName,
  type Value,
} from "./values.ts";

type Given = readonly (Value | undefined)[];

interface Method {
  /** As `bind` takes them. */
  readonly parameters: string;
  readonly run: (text: string, given: Given, meter: Meter) => Value;
}

/** Python takes these by their place only, unless they are named here. */
const NAMED = new Set(["split", "rsplit", "splitlines", "expandtabs", "encode"]);

/** A method of a text; undefined if there is none of this name. `format` is the interpreter's. */
export function textMethod(
  owner: string | Markup,
  name: string,
  meter: Meter,
): Callable | undefined {
  const method = METHODS.get(name);
  if (method === undefined) return undefined;
  const text = owner instanceof Markup ? owner.text : owner;
  return new Callable((args: readonly Value[], keywords: Keywords = NO_KEYWORDS) => {
    if (keywords.size > 0 && !NAMED.has(name)) {
      throw new TemplateRuntimeError(`${name}() takes no arguments by name`);
    }
    meter.scan(text.length);
    const given = bind(`${name}()`, method.parameters, args, keywords);
    if (!(owner instanceof Markup)) return method.run(text, given, meter);
    return marked(method.run(text, escaped(name, given), meter));
  });
}

function marked(value: Value): Value {
  if (typeof value === "string") return new Markup(value);
  if (value instanceof List) return new List(value.items.map(marked));
  return value instanceof Tuple ? new Tuple(value.items.map(marked)) : value;
}

/** What is put into markup is escaped. */
function escaped(name: string, given: Given): Given {
  const safe = (value: Value | undefined): Value | undefined =>
    typeof value === "string" ? escapeHtml(value) : value;
  if (name === "replace") return [given[0], safe(given[1]), given[2]];
  if (name === "join") return [new List([...iterate(given[0]!)].map((item) => safe(item)!))];
  return given;
}

const separatorOf = (value: Value | undefined) => {
  const separator = optionalString(value, "a separator");
  if (separator === "") throw new TemplateRuntimeError("a separator cannot be empty");
  return separator;
};

const split = (fromRight: boolean): Method => ({
  parameters: "| sep maxsplit",
  run: (text, [sep, maxsplit], meter) => {
    const separator = separatorOf(sep);
    const count = optionalInt(maxsplit, -1, "maxsplit");
    const most = count < 0 ? Number.POSITIVE_INFINITY : count;
    meter.checkWork(text.length * (separator?.length ?? 1));
    const pieces = separator === undefined ? text.length / 2 : countOf(text, separator);
    meter.checkSize(text.length + ITEM_SIZE * Math.min(most, pieces));
    if (separator === undefined) return new List(words(text, most, fromRight));
    const parts = fromRight ? cutFromRight(text, separator, most) : cut(text, separator, most);
    return new List(parts);
  },
});

function cut(text: string, separator: string, most: number): string[] {
  const parts = text.split(separator);
  if (parts.length - 1 <= most) return parts;
  return [...parts.slice(0, most), parts.slice(most).join(separator)];
}

function cutFromRight(text: string, separator: string, most: number): string[] {
  const parts: string[] = [];
  let to = text.length;
  while (parts.length < most) {
    const at = to < separator.length ? -1 : text.lastIndexOf(separator, to - separator.length);
    if (at < 0) break;
    parts.unshift(text.slice(at + separator.length, to));
    to = at;
  }
  return [text.slice(0, to), ...parts];
}

const partition = (fromRight: boolean): Method => ({
  parameters: "sep",
  run: (text, [sep]) => {
    const separator = separatorOf(stringOf(sep!, "a separator"))!;
    const at = fromRight ? text.lastIndexOf(separator) : text.indexOf(separator);
    if (at < 0) return new Tuple(fromRight ? ["", "", text] : [text, "", ""]);
    return new Tuple([text.slice(0, at), separator, text.slice(at + separator.length)]);
  },
});

const stripping = (sides: "both" | "left" | "right"): Method => ({
  parameters: "| chars",
  run: (text, [chars]) => strip(text, optionalString(chars, "the characters"), sides),
});

/** The part of a text that "start" and "end" leave, and where it begins. */
function part(text: string, start: Value | undefined, end: Value | undefined) {
  const length = start === undefined && end === undefined ? 0 : lengthOf(text);
  const place = (value: Value | undefined, otherwise: number) => {
    const index = value === undefined || value === null ? otherwise : intOf(value, "a place");
    return Math.max(0, index < 0 ? index + length : index);
  };
  if (length === 0) {
    const from = place(start, 0);
    return { text: start === undefined && end === undefined ? text : "", from, isBeyond: from > 0 };
  }
  const from = place(start, 0);
  const to = Math.min(length, place(end, length));
  return { text: from < to ? between(text, from, to) : "", from, isBeyond: from > to };
}

const searching = (fromRight: boolean, isNeeded: boolean): Method => ({
  parameters: "sub | start end",
  run: (whole, [sub, start, end], meter) => {
    const sought = stringOf(sub!, "what is sought");
    const { text, from, isBeyond } = part(whole, start, end);
    meter.checkWork(text.length * sought.length);
    const at = fromRight ? text.lastIndexOf(sought) : text.indexOf(sought);
    if (at >= 0 && !isBeyond) return from + lengthOf(text.slice(0, at));
    if (isNeeded) throw new TemplateRuntimeError("index() does not find what it seeks");
    return -1;
  },
});

const affix = (test: (text: string, affix: string) => boolean): Method => ({
  parameters: "affix | start end",
  run: (whole, [affix, start, end]) => {
    const { text, isBeyond } = part(whole, start, end);
    const choices = affix instanceof Tuple ? affix.items : [affix!];
    return choices.some((item) => test(text, stringOf(item, "what is compared")) && !isBeyond);
  },
});

function padded(value: Value | undefined, fill: Value | undefined, text: string, meter: Meter) {
  const width = intOf(value!, "a width");
  const character = fill === undefined ? " " : stringOf(fill, "what fills");
  if (lengthOf(character) !== 1) {
    throw new TemplateRuntimeError("what fills must be one character");
  }
  const missing = Math.max(0, width - lengthOf(text));
  meter.checkSize(text.length + missing * character.length);
  return { missing, character };
}

const padding = (side: "left" | "right" | "both"): Method => ({
  parameters: "width | fillchar",
  run: (text, [width, fill], meter) => {
    const { missing, character } = padded(width, fill, text, meter);
    if (side === "left") return character.repeat(missing) + text;
    if (side === "right") return text + character.repeat(missing);
    // An odd blank goes to the left if the width is odd.
    const left = Math.floor(missing / 2) + (missing & Number(width) & 1);
    return character.repeat(left) + text + character.repeat(missing - left);
  },
});

/** Whether a text is not empty and all of its characters are. */
const all = (characters: RegExp): Method => ({
  parameters: "",
  run: (text) => characters.test(text),
});

const changed = (run: (text: string) => string): Method => ({ parameters: "", run });

/** Whether all letters that have a case have this one, and there are some. */
const cased = (right: RegExp, wrong: RegExp): Method => ({
  parameters: "",
  run: (text) => right.test(text) && !wrong.test(text),
});

function translated(text: string, table: Dict, meter: Meter): string {
  const parts = Array.from(text, (character) => {
    const by = table.get(character.codePointAt(0)!);
    if (by === undefined) return character;
    if (by === null) return "";
    const number = asNumber(by);
    return asText(by) ?? String.fromCodePoint(Number(number));
  });
  meter.checkSize(parts.reduce((sum, item) => sum + item.length, 0));
  return parts.join("");
}

const METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ["capitalize", changed(capitalize)],
  ["casefold", changed((text) => text.toLowerCase().replaceAll("ß", "ss").replaceAll("ς", "σ"))],
  ["center", padding("both")],
  [
    "count",
    {
      parameters: "sub | start end",
      run: (whole, [sub, start, end], meter) => {
        const sought = stringOf(sub!, "what is counted");
        const { text, isBeyond } = part(whole, start, end);
        meter.checkWork(text.length * sought.length);
        return isBeyond ? 0 : countOf(text, sought);
      },
    },
  ],
  [
    "encode",
    {
      parameters: "| encoding errors",
      run: () => {
        throw new UnsupportedError("bytes");
      },
    },
  ],
  ["endswith", affix((text, end) => text.endsWith(end))],
  [
    "expandtabs",
    {
      parameters: "| tabsize",
      run: (text, [tabsize], meter) => {
        const size = optionalInt(tabsize, 8, "tabsize");
        meter.checkSize(text.length + countOf(text, "\t") * Math.max(0, size));
        return expandTabs(text, size);
      },
    },
  ],
  ["find", searching(false, false)],
  ["index", searching(false, true)],
  ["isalnum", all(/^[\p{L}\p{Nd}\p{No}\p{Nl}]+$/u)],
  ["isalpha", all(/^\p{L}+$/u)],
  ["isascii", all(/^\p{ASCII}*$/u)],
  ["isdecimal", all(/^\p{Nd}+$/u)],
  ["isdigit", all(/^[\p{Nd}²³¹⁰⁴-⁹₀-₉①-⑨⑴-⑼⒈-⒐]+$/u)],
  ["isidentifier", all(/^[\p{ID_Start}_]\p{ID_Continue}*$/u)],
  ["islower", cased(/\p{Lowercase}/u, /[\p{Uppercase}\p{Lt}]/u)],
  ["isnumeric", all(/^[\p{Nd}\p{No}\p{Nl}一二三四五六七八九十百千万億兆零〇]+$/u)],
  ["isprintable", all(/^(?:[^\p{C}\p{Z}]| )*$/u)],
  ["isspace", { parameters: "", run: isSpace }],
  ["istitle", { parameters: "", run: isTitle }],
  ["isupper", cased(/\p{Uppercase}/u, /[\p{Lowercase}\p{Lt}]/u)],
  [
    "join",
    {
      parameters: "iterable",
      run: (text, [iterable], meter) => {
        const parts: string[] = [];
        let size = 0;
        for (const item of iterate(iterable!)) {
          const string = asText(item);
          if (string === undefined) {
            throw new TemplateRuntimeError(`join() needs texts, not a ${typeName(item)}`);
          }
          parts.push(string);
          size += string.length + Math.max(text.length, ITEM_SIZE);
          meter.step(1);
          meter.checkSize(size);
        }
        return parts.join(text);
      },
    },
  ],
  ["ljust", padding("right")],
  ["lower", changed((text) => text.toLowerCase())],
  ["lstrip", stripping("left")],
  ["partition", partition(false)],
  [
    "removeprefix",
    {
      parameters: "prefix",
      run: (text, [affix]) => {
        const prefix = stringOf(affix!, "a prefix");
        return text.startsWith(prefix) ? text.slice(prefix.length) : text;
      },
    },
  ],
  [
    "removesuffix",
    {
      parameters: "suffix",
      run: (text, [affix]) => {
        const suffix = stringOf(affix!, "a suffix");
        return suffix !== "" && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
      },
    },
  ],
  [
    "replace",
    {
      parameters: "old new | count",
      run: (text, [old, by, count], meter) => {
        const [from, to] = [stringOf(old!, "what is replaced"), stringOf(by!, "a replacement")];
        return replaceBounded(text, from, to, optionalInt(count, -1, "a count"), meter);
      },
    },
  ],
  ["rfind", searching(true, false)],
  ["rindex", searching(true, true)],
  ["rjust", padding("left")],
  ["rpartition", partition(true)],
  ["rsplit", split(true)],
  ["rstrip", stripping("right")],
  ["split", split(false)],
  [
    "splitlines",
    {
      parameters: "| keepends",
      run: (text, [keepends]) => new List(lines(text, isTrueOr(keepends, false))),
    },
  ],
  ["startswith", affix((text, start) => text.startsWith(start))],
  ["strip", stripping("both")],
  ["swapcase", changed(swapCase)],
  ["title", changed(title)],
  [
    "translate",
    {
      parameters: "table",
      run: (text, [table], meter) => {
        if (table instanceof Dict) return translated(text, table, meter);
        throw new TemplateRuntimeError("translate() needs a mapping");
      },
    },
  ],
  ["upper", changed((text) => text.toUpperCase())],
  [
    "zfill",
    {
      parameters: "width",
      run: (text, [width], meter) => {
        const { missing } = padded(width, undefined, text, meter);
        const [, sign = "", digits = ""] = /^([+-]?)([\s\S]*)$/.exec(text)!;
        return sign + "0".repeat(missing) + digits;
      },
    },
  ],
]);

/** `replace`, its work and its result bounded. */
export function replaceBounded(
  text: string,
  old: string,
  by: string,
  most: number,
  meter: Meter,
): string {
  meter.scan(text.length);
  meter.checkWork(text.length * old.length);
  const found = countOf(text, old);
  const times = most < 0 ? found : Math.min(most, found);
  meter.checkSize(text.length + times * (by.length - old.length));
  return replace(text, old, by, most);
}
