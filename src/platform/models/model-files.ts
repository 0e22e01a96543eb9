// Which files of a repository are the model that a name stands for: the rules of llama.cpp's `-hf`.

import { UserError } from "../../errors.ts";
import { hint, quoteValue } from "../../option-reader.ts";
import type { RepositoryFile } from "./hub.ts";
import { type HubName, shownName } from "./model-name.ts";

/** Weights that are taken if a name does not say which, in this order; then the first model. */
const DEFAULT_QUANTS = ["Q4_K_M", "Q8_0"];

/** GGUF files that lie beside models and are none, by their names. */
const OTHERS: readonly [names: RegExp, what: string][] = [
  [/mmproj/i, "the part of a vision model that reads pictures"],
  [/imatrix/i, "statistics for quantising a model"],
  [/mtp-|eagle3-|dflash-|dspark-/, "a part that drafts for another model"],
];

/** Names that a message lists at most. */
const LISTED = 12;

/**
 * The files of one model, in the order of their numbers if it is split. Throws a `UserError` that
 * lists what there is.
 */
export function chooseFiles(
  files: readonly RepositoryFile[],
  name: HubName,
): readonly RepositoryFile[] {
  const chosen = allShards(files, chooseOne(files, name), name);
  for (const file of chosen) checkUnique(files, file, name);
  return chosen;
}

function chooseOne(files: readonly RepositoryFile[], name: HubName): RepositoryFile {
  const { file, quant } = name;
  if (file !== undefined) return namedFile(files, file, name);
  const models = files.filter(({ path }) => otherThanModel(path) === undefined && isFirst(path));
  for (const tag of quant === undefined ? DEFAULT_QUANTS : [quant]) {
    const found = withTag(models, tag);
    if (found !== undefined) return found;
  }
  const [first] = models;
  if (first === undefined) {
    throw new UserError(`hf:${name.repo} has no GGUF model${listed(files, name)}`);
  }
  if (quant === undefined) return first;
  throw new UserError(
    `hf:${name.repo} has no model of ${quoteValue(quant)} weights${listed(models, name)}`,
  );
}

/**
 * The first file whose path has the type of weights followed by "." or "-". llama.cpp also takes
 * BF16 for F16; here a type that stands by itself comes first.
 */
function withTag(models: readonly RepositoryFile[], tag: string): RepositoryFile | undefined {
  const text = tag.replaceAll(/[.-]/g, "\\$&");
  const anywhere = new RegExp(`${text}[.-]`, "i");
  return (
    models.find(({ path }) => hasQuant(path, tag)) ?? models.find(({ path }) => anywhere.test(path))
  );
}

/** Whether a path has a type of weights that stands by itself and is followed by "." or "-". */
export function hasQuant(path: string, tag: string): boolean {
  return new RegExp(`(?<![a-z0-9])${tag.replaceAll(/[.-]/g, "\\$&")}[.-]`, "i").test(path);
}

/** A file by its path, in other letter case if there is no such path. */
function namedFile(files: readonly RepositoryFile[], path: string, name: HubName): RepositoryFile {
  const found =
    files.find((file) => file.path === path) ??
    files.find((file) => file.path.toLowerCase() === path.toLowerCase());
  if (found === undefined) {
    const paths = files.map((file) => file.path);
    const meant = hint(path, paths);
    const end = meant === "." ? listed(files, name) : meant;
    throw new UserError(`hf:${name.repo} has no file ${quoteValue(path)}${end}`);
  }
  const other = otherThanModel(found.path);
  if (other === undefined) return found;
  throw new UserError(`${shownName(name)} is not a model: it is ${other}.`);
}

function otherThanModel(path: string): string | undefined {
  const file = path.slice(path.lastIndexOf("/") + 1);
  return OTHERS.find(([names]) => names.test(file))?.[1];
}

// ---- split files

interface Shard {
  readonly prefix: string;
  readonly number: number;
  readonly count: number;
}

/** `NAME-00002-of-00003.gguf`; undefined for a file that is whole. */
export function shardOf(path: string): Shard | undefined {
  const [, prefix, number, count] = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/i.exec(path) ?? [];
  if (prefix === undefined || Number(count) < 2) return undefined;
  return { prefix, number: Number(number), count: Number(count) };
}

/** The names of all files of a split model, given any of them; the name itself if it is whole. */
export function shardNames(path: string): readonly string[] {
  const shard = shardOf(path);
  if (shard === undefined) return [path];
  const digits = (number: number) => String(number).padStart(5, "0");
  return Array.from(
    { length: shard.count },
    (_, i) => `${shard.prefix}-${digits(i + 1)}-of-${digits(shard.count)}.gguf`,
  );
}

function isFirst(path: string): boolean {
  return (shardOf(path)?.number ?? 1) === 1;
}

function allShards(
  files: readonly RepositoryFile[],
  chosen: RepositoryFile,
  name: HubName,
): readonly RepositoryFile[] {
  const count = shardOf(chosen.path)?.count ?? 1;
  // A name may promise any number of files: it is compared before a list of them is made.
  const shards =
    count > files.length
      ? []
      : shardNames(chosen.path).flatMap((path) => files.find((file) => file.path === path) ?? []);
  if (shards.length === count) return shards;
  throw new UserError(
    `hf:${name.repo} does not have all ${count} files of ${quoteValue(chosen.path)}: its owner has to complete it.`,
  );
}

// ---- messages and names

/** On many systems names that differ by letter case only are one file. */
function checkUnique(
  files: readonly RepositoryFile[],
  { path }: RepositoryFile,
  name: HubName,
): void {
  const key = (text: string) => text.normalize("NFC").toLowerCase();
  const twin = files.find((file) => file.path !== path && key(file.path) === key(path));
  if (twin === undefined) return;
  throw new UserError(
    `hf:${name.repo} has ${quoteValue(path)} and ${quoteValue(twin.path)}, names that differ by letter case only: they are one file on many systems, so neither is fetched.`,
  );
}

function listed(files: readonly RepositoryFile[], { repo }: HubName): string {
  if (files.length === 0)
    return `: there is no .gguf file in it. A model's repository often has "GGUF" in its name.`;
  const names = files.slice(0, LISTED).map(({ path }) => quoteValue(path).slice(1, -1));
  const more = files.length > LISTED ? ` and ${files.length - LISTED} more` : "";
  return `: there are ${names.join(", ")}${more} (hf:${repo}/FILE.gguf names one).`;
}
