// Renders a conversation for a model with its template, as Hugging Face's transformers do, within
// limits.

import { type Message, messagesReader, type Role } from "../../context/text/message.ts";
import { UserError } from "../../errors.ts";
import { type Readers, readOptions, text, yesOrNo } from "../../option-reader.ts";
import { RaisedError } from "./jinja/errors.ts";
import { Template } from "./jinja/template.ts";
import { LONGEST_SOURCE, limitsFor, TemplateLimitError } from "./limits.ts";

/** As the vocabulary spells them; undefined if it has none. */
export interface TemplateTokens {
  readonly bos?: string | undefined;
  readonly eos?: string | undefined;
}

export interface RenderOptions {
  /**
   * End with the text that opens the assistant's answer, if the template has one. Default: false.
   */
  readonly addGenerationPrompt?: boolean | undefined;
}

export const TOKEN_READERS = { bos: text, eos: text } satisfies Readers<TemplateTokens>;

export const RENDER_READERS = { addGenerationPrompt: yesOrNo } satisfies Readers<RenderOptions>;

export class ChatTemplate {
  /** In Jinja. */
  readonly source: string;
  readonly #tokens: TemplateTokens;
  readonly #template: Template;
  /**
   * The roles whose messages the template reads as a list of parts; found when it is first
   * rendered.
   */
  #inParts: ReadonlySet<Role> | undefined;

  /**
   * Throws a `UserError` if the source is not valid Jinja, a `TemplateLimitError` if it is too
   * long.
   */
  constructor(source: string, tokens: TemplateTokens = {}) {
    this.source = text(source, "source");
    this.#tokens = readOptions("ChatTemplate", tokens, TOKEN_READERS);
    if (source.length > LONGEST_SOURCE) {
      const length = source.length;
      throw new TemplateLimitError("source", `${length} characters, at most ${LONGEST_SOURCE}`);
    }
    try {
      this.#template = new Template(source);
    } catch (error) {
      if (error instanceof UserError) throw error;
      throw new UserError(
        `The chat template does not parse: ${oneLine(error)}. Give one in Jinja, or name another, such as "chatml".`,
      );
    }
  }

  /**
   * The conversation as one text, special tokens spelled. Throws a `UserError` if the template
   * refuses the conversation or fails, a `TemplateLimitError` if it would not end or would not fit.
   */
  render(conversation: readonly Message[], options: RenderOptions = {}): string {
    const { addGenerationPrompt = false } = readOptions("render", options, RENDER_READERS);
    const messages = messagesReader(conversation, "conversation");
    this.#inParts ??= this.#findParts();
    return this.#render(messages, addGenerationPrompt, this.#inParts);
  }

  #render(
    messages: readonly Message[],
    addGenerationPrompt: boolean,
    inParts: ReadonlySet<Role>,
  ): string {
    const { bos, eos } = this.#tokens;
    const variables = {
      messages: messages.map(({ role, content }) => ({
        role,
        content: inParts.has(role) ? [{ type: "text", text: content }] : content,
      })),
      // As in transformers, where they always exist and are often none.
      tools: null,
      documents: null,
      add_generation_prompt: addGenerationPrompt,
      ...(bos !== undefined && { bos_token: bos }),
      ...(eos !== undefined && { eos_token: eos }),
    };
    const limits = limitsFor(
      messages.reduce((sum, { content }) => sum + content.length + MESSAGE_SIZE, 0),
    );
    try {
      return this.#template.render(variables, limits);
    } catch (error) {
      if (error instanceof UserError) throw error;
      throw new UserError(
        error instanceof RaisedError
          ? `The chat template refuses this conversation: ${oneLine(error)}`
          : `The chat template failed: ${oneLine(error)}. Name another, such as "chatml".`,
      );
    }
  }

  /**
   * Templates of models that also see pictures read a message as a list of parts,
   * `[{ type: "text", text }]`, or as either. A trial shows which: a role needs parts if its text
   * is rendered only when given as a part.
   */
  #findParts(): ReadonlySet<Role> {
    const inParts = new Set<Role>();
    // What reads parts says "text".
    if (!this.source.includes("text")) return inParts;
    for (const [role, roles] of TRIALS) {
      const messages = roles.map((said) => ({ role: said, content: said === role ? PROBE : "x" }));
      if (this.#shows(messages, inParts)) continue;
      const others = new Set([...inParts, role]);
      if (this.#shows(messages, others)) inParts.add(role);
    }
    return inParts;
  }

  /** Whether the probe is in what is rendered. */
  #shows(messages: readonly Message[], inParts: ReadonlySet<Role>): boolean {
    try {
      return this.#render(messages, true, inParts).toLowerCase().includes(PROBE);
    } catch (error) {
      if (error instanceof UserError) return false;
      throw error;
    }
  }
}

/** The text of a trial: a word of letters, which templates do not change. */
const PROBE = "probeofcontent";

/**
 * Conversations that every format has a place for. The user comes first, since the others need one.
 */
const TRIALS: readonly (readonly [Role, readonly Role[]])[] = [
  ["user", ["user"]],
  ["system", ["system", "user"]],
  ["assistant", ["user", "assistant", "user"]],
];

/** Characters that a message counts for beside its content. */
const MESSAGE_SIZE = 64;

/** A message of a template or the interpreter, in one line for a terminal. */
function oneLine(said: unknown): string {
  const text = said instanceof Error ? said.message : typeof said === "string" ? said : "";
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").trim();
  if (line === "") return "it gives no reason";
  return line.length > LONGEST_REASON ? `${line.slice(0, LONGEST_REASON)}…` : line;
}

const LONGEST_REASON = 200;
