// What is saved of an engine's texts and conversations, and taken up again.

import { PrefixCache } from "../../context/cache/prefix-cache.ts";
import { Sequence } from "../../context/cache/sequence.ts";
import type { AttentionPolicy } from "../../context/positions/attention-policy.ts";
import { type Message, messagesReader } from "../../context/text/message.ts";
import { UserError } from "../../errors.ts";
import { text as textReader } from "../../option-reader.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import type { Platform } from "../run/session.ts";
import { madeBy, openText, saveText, type TextToSave } from "../tasks/saved-text.ts";
import { keepConversation, keptConversation } from "./chat.ts";

/** A text that was saved, in the cache again. */
export interface OpenedSession {
  /** It goes on where it was saved; `clear()` it at the end. Undefined for a conversation. */
  readonly sequence: Sequence | undefined;
  /** The messages of a conversation, from which `chat` goes on: the engine keeps its pages. */
  readonly messages: readonly Message[] | undefined;
}

export class SavedSessions {
  readonly #model: LoadedModel;
  readonly #chats: PrefixCache;
  readonly #weights: readonly string[];
  readonly #platform: Platform;

  /** `chats` keeps the engine's conversation; `weights` identify those of the model. */
  constructor(
    model: LoadedModel,
    chats: PrefixCache,
    weights: readonly string[],
    platform: Platform,
  ) {
    this.#model = model;
    this.#chats = chats;
    this.#weights = weights;
    this.#platform = platform;
  }

  /** See `Engine.saveSession`. */
  async save(path: string, text: Sequence | PrefixCache | readonly Message[]): Promise<void> {
    textReader(path, "path");
    const { sequence, ids, chat } = this.#toSave(text);
    if (sequence && sequence.ids.length < sequence.length) await sequence.settled();
    // Keeps the pages as they are now, whatever is done with the text meanwhile. They are those of
    // this session: if its device is lost, there are none, and the tokens are saved alone.
    const { session } = this.#model;
    const fork = sequence?.fork();
    const isLost = () => session.device.isLost || this.#model.session !== session;
    const save = async (held: Sequence | undefined) => {
      const made = await this.#madeBy(sequence?.policy);
      const file = await this.#platform.createFile(path);
      await saveText(session, made, { sequence: held, ids: ids ?? fork?.ids ?? [], chat }, file);
    };
    try {
      await save(isLost() ? undefined : fork);
    } catch (error) {
      if (!fork || !isLost()) throw error;
      await save(undefined);
    } finally {
      fork?.clear();
    }
  }

  /** See `Engine.openSession`. */
  async open(path: string): Promise<OpenedSession> {
    const source = await this.#platform.openFile(textReader(path, "path"));
    try {
      const { sequence, saved } = await openText(this.#model, await this.#madeBy(), source);
      if (!saved.chat) return { sequence, messages: undefined };
      const { messages, spoken } = saved.chat;
      if (spoken) {
        const whole = { ...spoken, ids: [...saved.ids] };
        keepConversation(this.#chats, sequence, { messages, spoken: whole });
      } else sequence.clear();
      return { sequence: undefined, messages };
    } finally {
      await source.close();
    }
  }

  /** `ids` are left out if they are the sequence's. */
  #toSave(text: Sequence | PrefixCache | readonly Message[]): Partial<TextToSave> {
    if (text instanceof Sequence) {
      if (text.isIn(this.#model.session.pages)) return { sequence: text };
      throw new UserError("The sequence is another engine's: save it with that engine.");
    }
    if (text instanceof PrefixCache) {
      if (text.isInUse) {
        throw new UserError("The prefix cache is in use: save it when its generation has ended.");
      }
      if (text.isOf(this.#model)) return { sequence: text.held, ids: text.text };
      throw new UserError("The prefix cache is another engine's: save it with that engine.");
    }
    const messages = messagesReader(text, "conversation");
    const spoken = keptConversation(this.#chats, messages);
    const { held } = this.#chats;
    return { sequence: spoken && held, ids: spoken?.ids ?? [], chat: { messages, spoken } };
  }

  #madeBy(policy: AttentionPolicy = this.#model.setting.policy) {
    return madeBy(this.#model, this.#weights, policy);
  }
}
