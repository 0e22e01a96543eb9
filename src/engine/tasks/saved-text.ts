// Texts with their pages, saved to files and taken up again, in another process as well. What such a
// file holds, and how it is checked, is in context/cache.

import { pageBytes } from "../../context/cache/kv-cache.ts";
import type { MadeBy, SavedChat, SavedSession } from "../../context/cache/saved-session.ts";
import type { Sequence } from "../../context/cache/sequence.ts";
import {
  partsOf,
  SessionFile,
  SessionFileError,
  writeSession,
} from "../../context/cache/session-file.ts";
import { type AttentionPolicy, pagesNeeded } from "../../context/positions/attention-policy.ts";
import type { ByteSource } from "../gguf/source.ts";
import { fingerprint } from "../model/fingerprint.ts";
import type { RopeSetting } from "../rope-setting.ts";
import type { LoadedModel } from "../run/loaded-model.ts";
import type { FileToWrite, Session } from "../run/session.ts";
import { checkFits, checkIds } from "./checks.ts";

/** A text, and the conversation that it is of. */
export interface TextToSave {
  /** What has its pages, if there are any. */
  readonly sequence: Sequence | undefined;
  /** Its tokens: some at the end may not be computed yet. */
  readonly ids: readonly number[];
  readonly chat?: SavedChat | undefined;
}

/** What makes the pages of a model's cache, under a policy. `tensors` identifies its weights. */
export async function madeBy(
  { config, setting }: LoadedModel,
  tensors: readonly string[],
  policy: AttentionPolicy,
): Promise<MadeBy> {
  const { cache } = setting;
  const rotations = cache.groups.map(({ rope }) => rope && rotationOf(rope));
  return {
    fingerprint: await fingerprint(...tensors, { ...config, name: undefined }, rotations),
    model: config.name,
    policy,
    keys: cache.keys,
    kv: cache.shape.kvType,
    pageSize: cache.shape.pageSize,
    pageBytes: pageBytes(cache.shape),
    groups: cache.groups.map(({ layers, window }) => ({ layers, window })),
  };
}

/** What decides about rotated keys. */
function rotationOf({ scaling, model: { context, ...rotation } }: RopeSetting) {
  // The context decides between the two sets of LongRoPE's divisors, and nothing else of a rotation.
  return { scaling, rotation: scaling.kind === "longrope" ? { ...rotation, context } : rotation };
}

/**
 * Saves a text, which must not change meanwhile; its pages are those of a session. The file is
 * complete, or as it was before.
 */
export async function saveText(
  session: Session,
  made: MadeBy,
  { sequence, ids, chat }: TextToSave,
  file: FileToWrite,
): Promise<void> {
  try {
    const { length = 0, tables = [] } = sequence ?? {};
    const pages = made.groups.map((_, i) => tables[i]?.entries.map(({ first }) => first) ?? []);
    const saved: SavedSession = { madeBy: made, ids: Uint32Array.from(ids), length, pages, chat };
    const parts = partsIn(session, saved, sequence);
    await writeSession(saved, parts, (bytes) => file.write(bytes));
  } catch (error) {
    await file.discard();
    throw error;
  }
  await file.commit();
}

async function* partsIn(session: Session, saved: SavedSession, sequence: Sequence | undefined) {
  for (const { group, layer, of } of partsOf(saved)) {
    const pages = sequence?.tables[group]?.entries.map(({ page }) => page) ?? [];
    yield await session.caches[group]!.readPages(layer, of, pages);
  }
}

/**
 * Reads a text into the cache; if its device is lost, only the tokens, so that it is computed again.
 * Throws a `SessionFileError` if the file is damaged, or was made by
 * another model or setting, and a `CapacityError` if the cache has no room; then the cache is as it
 * was.
 */
export async function openText(
  model: LoadedModel,
  made: MadeBy,
  source: ByteSource,
): Promise<{ readonly sequence: Sequence; readonly saved: SavedSession }> {
  const file = await SessionFile.open(source);
  file.checkMadeBy(made);
  const saved = file.session;
  const ids = [...saved.ids];
  checkText(model, source.name, saved, ids);
  const sequence = model.sequence(saved.madeBy.policy);
  const { session } = model;
  const isLost = () => session.device.isLost || model.session !== session;
  try {
    const entries = sequence.restore(ids, saved.length, saved.pages);
    for await (const { group, layer, of, bytes } of file.parts()) {
      if (isLost()) continue; // its seal is checked all the same
      const pages = entries[group]!.map(({ page }) => page);
      session.caches[group]!.writePages(layer, of, pages, bytes);
    }
    if (isLost()) sequence.discard();
    else sequence.computed(saved.length);
  } catch (error) {
    sequence.clear();
    throw error;
  }
  return { sequence, saved };
}

/** Throws a `SessionFileError` unless a text is one of the model, and within its context. */
function checkText(
  model: LoadedModel,
  name: string,
  { madeBy: { policy }, pages }: SavedSession,
  ids: readonly number[],
): void {
  const unusable = (why: string) =>
    new SessionFileError(`${name}: the session cannot be used here: ${why}`);
  try {
    checkIds(model, ids);
    checkFits(model, policy, ids.length);
  } catch (error) {
    throw unusable((error as Error).message);
  }
  const { groups, shape } = model.setting.cache;
  // A step frees all pages that the policy hides: a text never has more than these.
  const most = pagesNeeded(policy, ids.length, model.setting.chunk, shape.pageSize);
  for (const [i, { length }] of pages.entries()) {
    if (length > groups[i]!.pages) {
      const { pages: size } = groups[i]!;
      throw unusable(
        `it has ${length} pages, and the cache ${size}. Load with a larger context or cacheTokens.`,
      );
    }
    if (length > most) {
      throw unusable(
        `it has ${length} pages, and its policy keeps at most ${most}. Load with a larger chunk.`,
      );
    }
  }
}
