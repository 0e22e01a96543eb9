// Turns a conversation into the tokens that a model reads: with the template's special tokens, but
// none that a message spells.

import { type Message, messagesReader, type Role } from "../../context/text/message.ts";
import { UserError } from "../../errors.ts";
import { having, instance } from "../../option-reader.ts";
import { Spellings } from "../tokenizer/spellings.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { isSpecial, type Vocabulary } from "../tokenizer/vocabulary.ts";
import { ChatTemplate, type RenderOptions } from "./chat-template.ts";

export interface ChatPrompt {
  /** As the template renders it, without a BOS that encoding adds. */
  readonly text: string;
  /**
   * With one BOS if the template or the vocabulary adds it; without an EOS that the template does
   * not write.
   */
  readonly ids: readonly number[];
  /** The prompt and an answer to it, by the tokens that the model has given. */
  answered(answer: string, ids: readonly number[]): Spoken;
}

/** A conversation up to an answer of the model. */
export interface Spoken {
  /**
   * As templates render it, guards and all: with or without a space before the answer, which its
   * tokens begin with.
   */
  readonly rendered: readonly string[];
  readonly guard: string;
  /**
   * Tokens as they were read and generated: not always those that its text would be tokenized into.
   */
  readonly ids: readonly number[];
}

/**
 * A conversation through its template, tokenized. What a message spells stays text: "<|eot_id|>" in
 * a question ends no turn. For that, a guard, a character that occurs nowhere else, is put into
 * every such spelling before rendering, and dropped after special tokens were found. A conversation
 * that goes on from `spoken` begins with its tokens. Throws what `ChatTemplate.render` throws.
 */
export function chatPrompt(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  conversation: readonly Message[],
  options: RenderOptions = {},
  spoken?: Spoken,
): ChatPrompt {
  having<Tokenizer>("a tokenizer", "encode")(tokenizer, "tokenizer");
  instance(ChatTemplate, "a ChatTemplate")(template, "template");
  const messages = messagesReader(conversation, "conversation");
  const { vocabulary } = tokenizer;
  const guard = unusedCharacter([template.source, ...messages.map(({ content }) => content)]);
  const { userDefined } = spellingsOf(vocabulary);
  // Some converters type the template's tokens as user-defined. Then such a spelling in the model's
  // own answer was this token ("</think>"), but in other messages it is text. Blanks are
  // user-defined tokens in many vocabularies, and occur in every template: they are left out.
  const words = userDefined.filter((text) => text.trim() !== "");
  const written = words.length === 0 ? "" : template.source + frameOf(template);
  const markup = words.filter((text) => written.includes(text));
  const guardModel = (text: string) => guardOf(vocabulary, [])(text, guard);
  const guardOthers = (text: string) => guardOf(vocabulary, markup)(text, guard);
  const guarded = messages.map(({ role, content }) => ({
    role,
    content: role === "assistant" ? guardModel(content) : guardOthers(content),
  }));

  const rendered = template.render(guarded, options);
  const encoding = { addSpecial: false, parseSpecial: true, guard };
  let ids: number[];
  const known =
    spoken?.guard === guard && spoken.rendered.find((text) => rendered.startsWith(text));
  if (spoken && typeof known === "string") {
    const rest = rendered.slice(known.length);
    ids = [...spoken.ids, ...tokenizer.encode(rest, { ...encoding, continuation: true })];
  } else {
    ids = tokenizer.encode(rendered, encoding);
    if (vocabulary.addBos && ids[0] !== vocabulary.bos) ids.unshift(vocabulary.bos!);
  }
  return {
    text: rendered.replaceAll(guard, ""),
    ids,
    answered: (answer, tokens) => ({
      guard,
      rendered: ["", ...(vocabulary.addSpacePrefix ? [" "] : [])].map(
        (space) => rendered + space + guardModel(answer),
      ),
      ids: [...ids, ...tokens],
    }),
  };
}

/** The texts that a template writes around messages; not every template has a system role. */
function frameOf(template: ChatTemplate): string {
  const said = (roles: readonly Role[]) => {
    try {
      const silent = roles.map((role) => ({ role, content: "" }));
      return template.render(silent, { addGenerationPrompt: true });
    } catch (error) {
      if (error instanceof UserError) return "";
      throw error;
    }
  };
  return said(["system", "user", "assistant", "user"]) || said(["user", "assistant", "user"]);
}

interface SpecialSpellings {
  /** The spellings of control and unknown tokens, which text becomes only with `parseSpecial`. */
  readonly control: readonly string[];
  readonly userDefined: readonly string[];
  /** By the user-defined ones that are guarded too. */
  readonly guards: Map<string, Guard>;
}

/** A vocabulary is large, so it is searched once. */
const KNOWN = new WeakMap<Vocabulary, SpecialSpellings>();

function spellingsOf(vocabulary: Vocabulary): SpecialSpellings {
  let known = KNOWN.get(vocabulary);
  if (known === undefined) {
    const control: string[] = [];
    const userDefined: string[] = [];
    for (let id = 0; id < vocabulary.size; id++) {
      const type = vocabulary.type(id);
      if (type === "user-defined") userDefined.push(vocabulary.text(id));
      else if (isSpecial(type)) control.push(vocabulary.text(id));
    }
    known = { control, userDefined, guards: new Map() };
    KNOWN.set(vocabulary, known);
  }
  return known;
}

/** Puts a character into what a message spells. */
type Guard = (message: string, guard: string) => string;

function guardOf(vocabulary: Vocabulary, markup: readonly string[]): Guard {
  const { control, guards } = spellingsOf(vocabulary);
  const key = markup.join("\0");
  const guard = guards.get(key) ?? guarding([...control, ...markup]);
  guards.set(key, guard);
  return guard;
}

/**
 * Puts the guard after the first character of every spelling, in upper or lower case and with any
 * blanks between its characters, since a template may change case and remove blanks. Also after a
 * text that ends within a spelling, which the following text could complete, but before the blanks
 * at its end, which a template may trim. Other changes by a template (such as cutting out words)
 * are not handled.
 */
function guarding(spellings: readonly string[]): Guard {
  // Nothing fits into a spelling of one character; no special token is that short.
  const long = spellings.filter((spelling) => spelling.length > 1).map(folded);
  if (long.length === 0) return (text) => text;
  const dense = long.map(withoutBlanks);
  const solid = new Spellings(dense.filter((spelling) => spelling.length > 1));
  // Blanks, with a character among them at most: these stand as they are.
  const blank = new Spellings(long.filter((_, i) => dense[i]!.length < 2));
  // One that ends with blanks is not complete without them.
  const whole = new Spellings(
    long.map((spelling, i) => (/\s$/u.test(spelling) ? `${dense[i]} ` : dense[i]!)),
  );

  return (message, guard) => {
    const starts = blank.all(folded(message)).map(({ start }) => behind(message, start));
    const text = insertedAt(message, guard, starts);
    const visible = withoutBlanks(text);
    const read = folded(visible);
    const places = solid.all(read).map(({ start }) => behind(visible, start));
    if (whole.endsWithin(read)) places.push(visible.length);
    return inserted(text, guard, places);
  };
}

/** The place behind the character that begins at one. */
function behind(text: string, at: number): number {
  return at + (text.codePointAt(at)! > 0xffff ? 2 : 1);
}

/** In one case, character by character, each as long as it was. */
function folded(text: string): string {
  return text.replace(/[^\0-@[-`{-\x7f]/gu, (character) => {
    const other = character.toUpperCase().toLowerCase();
    return other.length === character.length ? other : character;
  });
}

const BLANKS = /\s+/gu;

function withoutBlanks(text: string): string {
  return text.replace(BLANKS, "");
}

/** A text with the guard at these places, in ascending order. */
function insertedAt(text: string, guard: string, places: readonly number[]): string {
  let from = 0;
  const parts = places.map((place) => {
    const part = text.slice(from, place);
    from = place;
    return part + guard;
  });
  return parts.join("") + text.slice(from);
}

/**
 * A text with the guard behind this many of its characters, blanks not counted; in ascending order.
 */
function inserted(text: string, guard: string, places: readonly number[]): string {
  const parts: string[] = [];
  let from = 0;
  let counted = 0;
  for (const place of places) {
    let to = from;
    for (; counted < place; to++) if (text[to]!.trim() !== "") counted++;
    parts.push(text.slice(from, to), guard);
    from = to;
  }
  return parts.join("") + text.slice(from);
}

/** A private-use character that is in none of the texts. */
function unusedCharacter(texts: readonly string[]): string {
  const used = new Set(texts.flatMap((text) => [...text]));
  for (const [first, last] of PRIVATE_USE) {
    for (let point = first; point <= last; point++) {
      const character = String.fromCodePoint(point);
      if (!used.has(character)) return character;
    }
  }
  throw new UserError(
    "The conversation uses every private-use character of Unicode, and chat needs one: leave one out.",
  );
}

/** The private-use ranges of Unicode: its core specification, section 23.5. */
const PRIVATE_USE: readonly (readonly [number, number])[] = [
  [0xe000, 0xf8ff],
  [0xf0000, 0xffffd],
  [0x100000, 0x10fffd],
];
