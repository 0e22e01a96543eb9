// Filters that write HTML and addresses.

import { TemplateRuntimeError, UnsupportedError } from "../errors.ts";
import { intOf, isTrueOr, optionalString, stringOf } from "../python/arguments.ts";
import { textOf } from "../python/printing.ts";
import { escapeHtml, words } from "../python/texts.ts";
import { asText, Dict, itemsOf, iterate, Markup, Undefined, type Value } from "../python/values.ts";
import type { Operation, Runtime } from "../runtime.ts";
import { urlize } from "./urlize.ts";

type Filter = Operation<Value>;

export function escaped(value: Value, meter: Runtime["meter"]): Markup {
  return value instanceof Markup ? value : new Markup(escapeHtml(textOf(value, meter)));
}

const escaping: Filter = { parameters: "", run: (value, _, { meter }) => escaped(value, meter) };

const NAMED: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\xa0",
};

function unescaped(text: string): string {
  return text.replace(
    /&(?:#(\d+);?|#[xX]([\da-fA-F]+);?|([a-zA-Z]\w*);?)/g,
    (entity, number, hex, name) => {
      if (name !== undefined) {
        const character = entity.endsWith(";") ? NAMED[name] : undefined;
        if (character === undefined) throw new UnsupportedError("entities");
        return character;
      }
      const code = number === undefined ? Number.parseInt(hex, 16) : Number(number);
      const isCharacter = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000);
      return isCharacter ? String.fromCodePoint(code) : "\ufffd";
    },
  );
}

function stripTags(text: string): string {
  const cut = (from: string, to: string) => {
    for (let at = text.indexOf(from); at >= 0; at = text.indexOf(from, at)) {
      const end = text.indexOf(to, at);
      if (end < 0) return;
      text = text.slice(0, at) + text.slice(end + to.length);
    }
  };
  cut("<!--", "-->");
  cut("<", ">");
  return unescaped(words(text).join(" "));
}

const utf8 = new TextEncoder();

/** Quoted for an address; `isQuery`: for what follows "?". */
function quoteUrl(text: string, isQuery: boolean): string {
  const parts = Array.from(utf8.encode(text), (byte) => {
    const character = String.fromCharCode(byte);
    if (/[\w.~-]/.test(character) || (character === "/" && !isQuery)) return character;
    if (character === " " && isQuery) return "+";
    return `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  });
  return parts.join("");
}

function urlEncode(value: Value, { meter }: Runtime): string {
  const quote = (item: Value, isQuery: boolean) => quoteUrl(textOf(item, meter), isQuery);
  const items = value instanceof Dict ? value.entries() : itemsOf(value);
  if (asText(value) !== undefined || items === undefined) return quote(value, false);
  const pairs = Array.from(items as Iterable<Value | readonly [Value, Value]>, (item) => {
    const pair = Array.isArray(item) ? (item as Value[]) : [...iterate(item as Value)];
    if (pair.length !== 2) throw new TemplateRuntimeError("urlencode() needs pairs");
    return pair.map((part) => quote(part, true)).join("=");
  });
  return pairs.join("&");
}

function xmlAttributes(value: Value, hasSpace: boolean, { meter, autoescape }: Runtime): Value {
  if (!(value instanceof Dict)) throw new TemplateRuntimeError("xmlattr() needs a mapping");
  const parts: string[] = [];
  for (const [key, item] of value.entries()) {
    if (item === null || item instanceof Undefined) continue;
    const name = stringOf(key, "an attribute's name");
    if (/[ \t\n\r\f\v/>=]/.test(name)) {
      throw new TemplateRuntimeError("an attribute's name has a character that ends it");
    }
    parts.push(`${escaped(key, meter).text}="${escaped(item, meter).text}"`);
  }
  const text = parts.join(" ");
  const spaced = hasSpace && text !== "" ? ` ${text}` : text;
  return autoescape ? new Markup(spaced) : spaced;
}

export const HTML_FILTERS: readonly (readonly [string, Filter])[] = [
  ["e", escaping],
  ["escape", escaping],
  [
    "forceescape",
    { parameters: "", run: (value, _, { meter }) => new Markup(escapeHtml(textOf(value, meter))) },
  ],
  ["safe", { parameters: "", run: (value, _, { meter }) => new Markup(textOf(value, meter)) }],
  ["striptags", { parameters: "", run: (value, _, { meter }) => stripTags(textOf(value, meter)) }],
  ["urlencode", { parameters: "", run: (value, _, runtime) => urlEncode(value, runtime) }],
  [
    "urlize",
    {
      parameters: "| trim_url_limit nofollow target rel extra_schemes",
      run: (
        value,
        [limit = null, nofollow, target, rel, schemes = null],
        { meter, autoescape },
      ) => {
        const rels = new Set((optionalString(rel, "a rel") ?? "").split(/\s+/).filter(Boolean));
        if (isTrueOr(nofollow, false)) rels.add("nofollow");
        rels.add("noopener");
        const text = urlize(escaped(value, meter).text, {
          limit: limit === null ? undefined : intOf(limit, "a limit"),
          rel: [...rels].sort().join(" "),
          target: optionalString(target, "a target"),
          schemes:
            schemes === null ? [] : [...iterate(schemes)].map((item) => stringOf(item, "a scheme")),
        });
        return autoescape ? new Markup(text) : text;
      },
    },
  ],
  [
    "xmlattr",
    {
      parameters: "| autospace",
      run: (value, [autospace], runtime) =>
        xmlAttributes(value, isTrueOr(autospace, true), runtime),
    },
  ],
];
