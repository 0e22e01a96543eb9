// What a conversation looks like to a model: the template that came with it, rendered as Hugging Face's transformers
// render it, and kept within bounds.

import { parse, tokenize } from "@huggingface/jinja";
import { type Message, ROLES } from "../../context/text/message.ts";
import { UserError } from "../../errors.ts";
import { quote } from "../gguf/reader.ts";
import { BoundedInterpreter, type Node } from "./bounded-interpreter.ts";
import { LONGEST_BLANK, LONGEST_SOURCE, limitsFor, TemplateLimitError } from "./limits.ts";
import { strftime } from "./strftime.ts";

/** As the vocabulary spells them; undefined where it has none. */
export interface TemplateTokens {
  readonly bos?: string | undefined;
  readonly eos?: string | undefined;
}

export interface RenderOptions {
  /** End with what opens the assistant's answer, where the template has such a thing. Default: false. */
  readonly addGenerationPrompt?: boolean | undefined;
}

export class ChatTemplate {
  /** In Jinja. */
  readonly source: string;
  readonly #tokens: TemplateTokens;
  readonly #program: Node;
  readonly #printed: ReadonlySet<Node>;

  /** Throws a `UserError` where the source is no Jinja, a `TemplateLimitError` where it is too long. */
  constructor(source: string, tokens: TemplateTokens = {}) {
    this.source = source;
    this.#tokens = tokens;
    if (source.length > LONGEST_SOURCE) {
      const length = source.length;
      throw new TemplateLimitError("source", `${length} characters, at most ${LONGEST_SOURCE}`);
    }
    if (new RegExp(`\\s{${LONGEST_BLANK + 1}}`).test(source)) {
      throw new TemplateLimitError("source", `white space of more than ${LONGEST_BLANK} in a row`);
    }
    try {
      this.#program = parse(tokenize(source, { trim_blocks: true, lstrip_blocks: true }));
      this.#printed = collectPrinted(this.#program);
    } catch (error) {
      throw new UserError(
        `The chat template does not parse: ${oneLine(error)}. Give one in Jinja, or name another, such as "chatml".`,
      );
    }
  }

  /**
   * The conversation as one text, special tokens spelled. Throws a `UserError` where the template refuses the
   * conversation or fails, a `TemplateLimitError` where it would not end or would not fit.
   */
  render(
    messages: readonly Message[],
    { addGenerationPrompt = false }: RenderOptions = {},
  ): string {
    for (const { role } of messages) {
      if (!ROLES.includes(role)) {
        throw new UserError(
          `${quote(role)} is nobody in a conversation: expected ${ROLES.join(", ")}.`,
        );
      }
    }
    const { bos, eos } = this.#tokens;
    const variables = {
      messages: messages.map(({ role, content }) => ({ role, content })),
      // As in transformers, where they are always there and often none.
      tools: null,
      documents: null,
      add_generation_prompt: addGenerationPrompt,
      ...(bos !== undefined && { bos_token: bos }),
      ...(eos !== undefined && { eos_token: eos }),
      raise_exception: (reason: unknown) => {
        throw new UserError(`The chat template refuses this conversation: ${oneLine(reason)}`);
      },
      strftime_now: (format: unknown) => strftime(new Date(), oneLine(format)),
    };
    const limits = limitsFor(
      messages.reduce((sum, { content }) => sum + content.length + MESSAGE_SIZE, 0),
    );
    try {
      return String(
        new BoundedInterpreter(variables, this.#printed, limits).run(this.#program).value,
      );
    } catch (error) {
      if (error instanceof UserError) throw error;
      throw new UserError(
        `The chat template failed: ${oneLine(error)}. Name another, such as "chatml".`,
      );
    }
  }
}

/** Characters that a message counts for beside its content. */
const MESSAGE_SIZE = 64;

/** The nodes of a program whose values become text: what stands in a block, and assigns or defines nothing. */
function collectPrinted(node: unknown, printed = new Set<Node>()): ReadonlySet<Node> {
  if (node instanceof Map) node = [...node].flat();
  if (typeof node !== "object" || node === null) return printed;
  for (const [field, child] of Object.entries(node)) {
    if (BLOCKS.includes(field)) {
      for (const statement of child) if (!SILENT.includes(statement.type)) printed.add(statement);
    }
    collectPrinted(child, printed);
  }
  return printed;
}

const BLOCKS: readonly string[] = ["body", "alternate", "defaultBlock"];
const SILENT: readonly string[] = ["Set", "Macro", "Comment", "Break", "Continue"];

/** What a template or the interpreter says, fit for a line of a terminal. */
function oneLine(said: unknown): string {
  const text = said instanceof Error ? said.message : typeof said === "string" ? said : "";
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").trim();
  if (line === "") return "it gives no reason";
  return line.length > LONGEST_REASON ? `${line.slice(0, LONGEST_REASON)}…` : line;
}

const LONGEST_REASON = 200;
