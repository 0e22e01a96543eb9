// What the cache folder holds, as models: the files of a split one together, and those that are
// incomplete.

import { UserError } from "../../errors.ts";
import { hint, quoteValue } from "../../option-reader.ts";
import { modelsFolder, removeFiles, type StoredFile, storedFiles } from "./model-cache.ts";
import { hasQuant, shardNames } from "./model-files.ts";

/** A model in the cache folder, whole or in part. */
export interface StoredModel {
  /** As it is given to `--model`: "hf:OWNER/REPO/FILE.gguf"; of a split one, its first file. */
  readonly name: string;
  /** That its files take on the disk. */
  readonly bytes: number;
  /** When it was last fetched or used. */
  readonly used: Date;
  /** Whether all of it is there. */
  readonly isComplete: boolean;
  readonly files: readonly StoredFile[];
}

/** The models in the cache folder, by name. */
export async function storedModels(): Promise<StoredModel[]> {
  const groups = new Map<string, StoredFile[]>();
  for (const file of await storedFiles()) {
    const [first = file.name] = shardNames(file.name);
    groups.set(first, [...(groups.get(first) ?? []), file]);
  }
  return [...groups].map(([name, files]) => {
    const whole = new Set(files.filter(({ isComplete }) => isComplete).map((file) => file.name));
    return {
      name,
      bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
      used: new Date(Math.max(...files.map(({ used }) => used.getTime()))),
      isComplete: shardNames(name).every((shard) => whole.has(shard)),
      files,
    };
  });
}

/**
 * Removes what a name stands for: a model, those of a repository (`hf:OWNER/REPO`), or those with a
 * type of weights (`hf:OWNER/REPO:QUANT`). Returns what was removed. Throws a `UserError` if there is
 * no such model, or if it is being fetched.
 */
export async function removeModels(name: string): Promise<StoredModel[]> {
  const models = await storedModels();
  const found = models.filter((model) => isNamed(model, name));
  if (found.length === 0) {
    const names = models.map((model) => model.name);
    const end = names.length === 0 ? "." : `: there are ${names.join(", ")}${hint(name, names)}`;
    throw new UserError(`No model ${quoteValue(name)} in ${modelsFolder()}${end}`);
  }
  const busy = found.flatMap(({ files }) => files).find(({ isBusy }) => isBusy);
  if (busy !== undefined) {
    throw new UserError(`${busy.name} is being fetched: stop that first.`);
  }
  await removeFiles(found.flatMap(({ files }) => files));
  return found;
}

function isNamed(model: StoredModel, name: string): boolean {
  if (model.files.some((file) => file.name === name) || model.name === name) return true;
  const [, repo, quant] = /^(hf:[^/:]+\/[^/:]+)(?::(.+))?$/.exec(name) ?? [];
  if (repo === undefined || !model.name.startsWith(`${repo}/`)) return false;
  return quant === undefined || hasQuant(model.name.slice(repo.length), quant);
}
