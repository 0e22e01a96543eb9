// The filter `urlize`: addresses in a text as links of HTML.

import { TemplateRuntimeError } from "../errors.ts";
import { escapeHtml } from "../python/texts.ts";

interface LinkOptions {
  /** Characters of an address that are shown. */
  readonly limit: number | undefined;
  readonly rel: string;
  readonly target: string | undefined;
  /** Beside http, https and mailto. */
  readonly schemes: readonly string[];
}

const HTTP = new RegExp(
  "^(?:" +
    "(?:https?://|www\\.)(?:(?:[\\p{L}\\p{N}_%-]+\\.)+)?(?:[a-z]{2,63}|xn--[\\p{L}\\p{N}_%]{2,59})" +
    "|(?:[\\p{L}\\p{N}_%-]{2,63}\\.)+(?:com|net|int|edu|gov|org|info|mil)" +
    "|https?://(?:\\d{1,3}(?:\\.\\d{1,3}){3}|\\[(?:[\\da-f]{0,4}:){2}(?:[\\da-f]{0,4}:?){1,6}\\])" +
    ")(?::\\d{1,5})?(?:[/?#]\\S*)?$",
  "iu",
);
const MAIL = /^\S+@[\p{L}\p{N}_][\p{L}\p{N}_.-]*\.[\p{L}\p{N}_]+$/u;
const SCHEME = /^[\p{L}\p{N}_.+-]{2,}:\/{0,2}$/u;
const BRACKETS = [
  ["(", ")"],
  ["<", ">"],
  ["&lt;", "&gt;"],
] as const;

/** Replaces addresses in an escaped text. */
export function urlize(text: string, options: LinkOptions): string {
  for (const scheme of options.schemes) {
    if (!SCHEME.test(scheme)) {
      throw new TemplateRuntimeError(`${JSON.stringify(scheme)} is no scheme of an address`);
    }
  }
  return text
    .split(/(\s+)/)
    .map((word) => linked(word, options))
    .join("");
}

const countOf = (text: string, part: string) => text.split(part).length - 1;

function linked(word: string, options: LinkOptions): string {
  const head = /^(?:[(<]|&lt;)+/.exec(word)?.[0] ?? "";
  let middle = word.slice(head.length);
  let tail = /(?:[)>.,\n]|&gt;)+$/.exec(middle)?.[0] ?? "";
  middle = middle.slice(0, middle.length - tail.length);
  for (const [open, close] of BRACKETS) {
    const missing = countOf(middle, open) - countOf(middle, close);
    if (missing <= 0) continue;
    for (let i = Math.min(countOf(middle, open), countOf(tail, close)); i > 0; i--) {
      const end = tail.indexOf(close) + close.length;
      middle += tail.slice(0, end);
      tail = tail.slice(end);
    }
  }
  return head + link(middle, options) + tail;
}

function link(address: string, { limit, rel, target, schemes }: LinkOptions): string {
  const shown =
    limit !== undefined && Array.from(address).length > limit
      ? `${Array.from(address).slice(0, limit).join("")}...`
      : address;
  const attributes =
    (rel === "" ? "" : ` rel="${escapeHtml(rel)}"`) +
    (target ? ` target="${escapeHtml(target)}"` : "");
  if (HTTP.test(address)) {
    const to = /^https?:\/\//.test(address) ? address : `https://${address}`;
    return `<a href="${to}"${attributes}>${shown}</a>`;
  }
  if (address.startsWith("mailto:") && MAIL.test(address.slice(7))) {
    return `<a href="${address}">${address.slice(7)}</a>`;
  }
  const isMail =
    address.includes("@") &&
    !/^(?:www\.|@)/.test(address) &&
    !address.includes(":") &&
    MAIL.test(address);
  if (isMail) return `<a href="mailto:${address}">${address}</a>`;
  const scheme = schemes.find((start) => address !== start && address.startsWith(start));
  return scheme === undefined ? address : `<a href="${address}"${attributes}>${address}</a>`;
}
