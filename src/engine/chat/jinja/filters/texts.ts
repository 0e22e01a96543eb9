// Filters of texts, and those that make one.

import { TemplateRuntimeError, UnsupportedError } from "../errors.ts";
import { intOf, isTrueOr, optionalInt, optionalString, stringOf } from "../python/arguments.ts";
import { compare } from "../python/comparing.ts";
import { capitalize } from "../python/letter-case.ts";
import { formatPercent } from "../python/percent-format.ts";
import { jsonOf, reprOf, textOf } from "../python/printing.ts";
import { replaceBounded, textMethod } from "../python/text-methods.ts";
import { between, compareTexts, escapeHtml, lengthOf, lines, SPACES } from "../python/texts.ts";
import {
  asText,
  Dict,
  iterate,
  List,
  Markup,
  NO_KEYWORDS,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "../python/values.ts";
import type { Operation, Runtime } from "../runtime.ts";
import { escaped } from "./html.ts";
import { wrap } from "./wrap.ts";

type Filter = Operation<Value>;

/** A text as it is, markup or not; anything else as it is printed. */
const soft = (value: Value, { meter }: Runtime): string | Markup =>
  value instanceof Markup ? value : textOf(value, meter);

/** A filter that is a method of the value's text. */
const byMethod = (name: string, parameters = ""): Filter => ({
  parameters,
  run: (value, given, runtime) => {
    const args = given.filter((item) => item !== undefined && item !== null);
    return textMethod(soft(value, runtime), name, runtime.meter)!.call(args, NO_KEYWORDS);
  },
});

/** Keeps markup what it is. */
function mapped(text: string | Markup, run: (text: string) => string): string | Markup {
  return text instanceof Markup ? new Markup(run(text.text)) : run(text);
}

const WORD_STARTS = new RegExp(`([-${SPACES}({[<]+)`, "u");

/** Each word in lower case, its first character in upper case. */
function title(text: string): string {
  const parts = text.split(WORD_STARTS).map((part) => {
    const [first = ""] = part;
    return first.toUpperCase() + part.slice(first.length).toLowerCase();
  });
  return parts.join("");
}

/** With the lines behind the first moved to the right. */
function indent(
  value: Value,
  width: Value,
  isFirst: boolean,
  isBlank: boolean,
  { meter }: Runtime,
): Value {
  const text = asText(value);
  if (text === undefined) {
    if (value instanceof Undefined) value.fail();
    throw new TemplateRuntimeError(`a ${typeName(value)} cannot be indented`);
  }
  const given = asText(width);
  const count = given === undefined ? Math.max(0, intOf(width, "a width")) : given.length;
  const all = lines(`${text}\n`);
  meter.checkSize(text.length + all.length * count);
  const by = given ?? " ".repeat(count);
  const indented = all.map((line, i) => {
    const isMoved = i === 0 ? isFirst : isBlank || line !== "";
    return isMoved ? by + line : line;
  });
  const result = indented.join("\n");
  return value instanceof Markup ? new Markup(result) : result;
}

function truncate(
  value: Value,
  length: number,
  isHard: boolean,
  end: string,
  leeway: number,
): Value {
  const text = asText(value);
  const size = text === undefined ? undefined : lengthOf(text);
  if (length < lengthOf(end) || leeway < 0) {
    throw new TemplateRuntimeError("truncate() needs room for what it puts at the end");
  }
  if (value instanceof Undefined) return value;
  if (text === undefined) {
    const items = value instanceof List || value instanceof Tuple ? value.items.length : undefined;
    if (items !== undefined && items <= length + leeway) return value;
    throw new TemplateRuntimeError(`a ${typeName(value)} cannot be truncated`);
  }
  if (size! <= length + leeway) return value;
  const cut = between(text, 0, length - lengthOf(end));
  const at = cut.lastIndexOf(" ");
  return (isHard || at < 0 ? cut : cut.slice(0, at)) + end;
}

/**
 * `json.dumps` with the defaults of transformers: no escapes for HTML, nor for what is beyond
 * ASCII.
 */
function toJson(value: Value, given: readonly (Value | undefined)[], { meter }: Runtime): string {
  const [ensureAscii, indentation = null, separators = null, sortKeys] = given;
  const by = asText(indentation);
  const width = by === undefined && indentation !== null ? intOf(indentation, "an indentation") : 0;
  meter.checkSize(width);
  const indentBy = indentation === null ? undefined : (by ?? " ".repeat(Math.max(0, width)));
  let comma = indentBy === undefined ? ", " : ",";
  let colon = ": ";
  if (separators !== null) {
    const pair = [...iterate(separators)];
    if (pair.length !== 2) throw new TemplateRuntimeError("tojson() takes two separators");
    [comma, colon] = pair.map((item) => stringOf(item, "a separator")) as [string, string];
  }
  const options = {
    ensureAscii: isTrueOr(ensureAscii, false),
    indent: indentBy,
    comma,
    colon,
    sortKeys: isTrueOr(sortKeys, false),
  };
  return jsonOf(value, options, meter);
}

/** As `pprint` orders keys: if they have no order, by their types. */
function orderOf(a: Value, b: Value, meter: Runtime["meter"]): number {
  try {
    return compare(a, b, meter, "<");
  } catch (error) {
    if (!(error instanceof TemplateRuntimeError)) throw error;
    return compareTexts(typeName(a), typeName(b));
  }
}

/** As `pprint` has it: keys in their order. */
function sorted(value: Value, meter: Runtime["meter"]): Value {
  if (value instanceof List) return new List(value.items.map((item) => sorted(item, meter)));
  if (value instanceof Tuple) return new Tuple(value.items.map((item) => sorted(item, meter)));
  if (!(value instanceof Dict)) return value;
  const entries = [...value.entries()].sort(([a], [b]) => orderOf(a, b, meter));
  return new Dict(entries.map(([key, item]) => [key, sorted(item, meter)]));
}

function prettyPrint(value: Value, { meter }: Runtime): string {
  meter.checkSize(reprOf(value, meter).length);
  const text = reprOf(sorted(value, meter), meter);
  if (lengthOf(text) > 80 || asText(value)?.includes("\n")) throw new UnsupportedError("pprint");
  return text;
}

export const TEXT_FILTERS: readonly (readonly [string, Filter])[] = [
  [
    "capitalize",
    { parameters: "", run: (value, _, runtime) => mapped(soft(value, runtime), capitalize) },
  ],
  [
    "center",
    {
      parameters: "| width",
      run: (value, [width = 80], runtime) =>
        textMethod(soft(value, runtime), "center", runtime.meter)!.call([width], NO_KEYWORDS),
    },
  ],
  [
    "format",
    {
      run: (value, args, runtime, keywords) => {
        if (args.length > 0 && keywords.size > 0) {
          throw new TemplateRuntimeError("format() takes arguments by place or by name, not both");
        }
        const values = keywords.size > 0 ? new Dict(keywords) : new Tuple(args as Value[]);
        const text = soft(value, runtime);
        if (typeof text === "string") return formatPercent(text, values, runtime.meter);
        return new Markup(formatPercent(text.text, values, runtime.meter, escapeHtml));
      },
    },
  ],
  [
    "indent",
    {
      parameters: "| width first blank",
      run: (value, [width = 4, first, blank], runtime) =>
        indent(value, width, isTrueOr(first, false), isTrueOr(blank, false), runtime),
    },
  ],
  ["lower", byMethod("lower")],
  ["pprint", { parameters: "", run: (value, _, runtime) => prettyPrint(value, runtime) }],
  [
    "replace",
    {
      parameters: "old new | count",
      run: (value, [old, by, count = null], { meter, autoescape }) => {
        const most = count === null ? -1 : intOf(count, "a count");
        const text = (item: Value) => textOf(item, meter);
        if (!autoescape) return replaceBounded(text(value), text(old!), text(by!), most, meter);
        const isMarkup =
          old instanceof Markup || (by instanceof Markup && !(value instanceof Markup));
        const source = isMarkup ? escaped(value, meter) : value;
        const to = source instanceof Markup ? escaped(by!, meter).text : text(by!);
        const replaced = replaceBounded(text(source), text(old!), to, most, meter);
        return source instanceof Markup ? new Markup(replaced) : replaced;
      },
    },
  ],
  ["string", { parameters: "", run: (value, _, runtime) => soft(value, runtime) }],
  ["title", { parameters: "", run: (value, _, runtime) => titled(soft(value, runtime)) }],
  ["tojson", { parameters: "| ensure_ascii indent separators sort_keys", run: toJson }],
  ["trim", byMethod("strip", "| chars")],
  [
    "truncate",
    {
      parameters: "| length killwords end leeway",
      run: (value, [length, killwords, end, leeway = null]) =>
        truncate(
          value,
          optionalInt(length, 255, "a length"),
          isTrueOr(killwords, false),
          optionalString(end, "an end") ?? "...",
          leeway === null ? 5 : intOf(leeway, "a leeway"),
        ),
    },
  ],
  ["upper", byMethod("upper")],
  [
    "wordcount",
    {
      parameters: "",
      run: (value, _, { meter }) => (textOf(value, meter).match(/[\p{L}\p{N}_]+/gu) ?? []).length,
    },
  ],
  [
    "wordwrap",
    {
      parameters: "| width break_long_words wrapstring break_on_hyphens",
      run: (value, [width, breakLong, wrapstring, breakHyphens], { meter }) => {
        const text = stringOf(value, "what is wrapped");
        const joint = optionalString(wrapstring, "a wrapstring") ?? "\n";
        meter.checkWork(text.length);
        meter.checkSize(text.length * (1 + joint.length));
        return wrap(text, {
          width: optionalInt(width, 79, "a width"),
          breaksWords: isTrueOr(breakLong, true),
          breaksHyphens: isTrueOr(breakHyphens, true),
          joint,
        });
      },
    },
  ],
];

function titled(text: string | Markup): string {
  return title(text instanceof Markup ? text.text : text);
}
