// A GGUF file: its metadata, and where its tensors lie.
// In this room: bytes to checked values. Not in it: what they mean (model/, tokenizer/), and how
// weights are unpacked (kernels/weights).

import { Metadata, type MetadataValue } from "./metadata.ts";
import { type Parsed, parseGguf, type TensorInfo } from "./parse.ts";
import { GgufError, quote } from "./reader.ts";
import type { ByteSource } from "./source.ts";

export type { TensorType } from "./format.ts";
export type { MetadataArray, MetadataValue } from "./metadata.ts";
export type { TensorInfo } from "./parse.ts";
export { GgufError } from "./reader.ts";

/**
 * A model file: its header, read and checked, and where its tensors lie. Their data stays on the
 * disk.
 */
export interface GgufFile {
  /** The path it was opened by: of its first shard, if there are several. */
  readonly name: string;
  readonly version: 2 | 3;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The size of all its files. */
  readonly bytes: number;
  /** Closes every file; the tensors cannot be read any more. */
  close(): Promise<void>;
}

/**
 * Opens a GGUF file, and the others with it if it is the first of several
 * (`NAME-00001-of-0000N.gguf`). If anything is wrong, nothing stays open.
 */
export async function openGguf(
  path: string,
  open: (path: string) => Promise<ByteSource>,
): Promise<GgufFile> {
  const sources: ByteSource[] = [];
  const openSource = async (shard: string): Promise<ByteSource> => {
    const source = await open(shard);
    sources.push(source);
    return source;
  };

  try {
    const first = await parseGguf(await openSource(path));
    const tensors = await withLaterShards(path, first, openSource);
    return {
      name: path,
      version: first.version,
      metadata: first.metadata,
      tensors,
      bytes: sources.reduce((sum, source) => sum + source.size, 0),
      close: async () => void (await Promise.all(sources.map((source) => source.close()))),
    };
  } catch (error) {
    await Promise.allSettled(sources.map((source) => source.close())); // report `error`
    throw error;
  }
}

/** The tensors of all shards; the first one carries the metadata of the whole model. */
async function withLaterShards(
  path: string,
  first: Parsed,
  open: (path: string) => Promise<ByteSource>,
): Promise<ReadonlyMap<string, TensorInfo>> {
  const metadata = new Metadata({ name: path, metadata: first.metadata });
  const count = metadata.integer("split.count", 1);
  if (count <= 1) return first.tensors;

  const paths = shardPaths(path, count);
  const tensors = new Map<string, TensorInfo>();
  for (const [number, shardPath] of paths.entries()) {
    const shard = number === 0 ? first : await parseGguf(await openLater(paths, number, open));
    checkNumber(paths, number, number === 0 ? path : shardPath, shard);
    for (const tensor of shard.tensors.values()) {
      const other = tensors.get(tensor.name)?.source.name;
      if (other !== undefined) {
        const found = `${quote(tensor.name)}, which is in ${other} too`;
        throw mixed(shardPath, "each tensor in one shard only", found);
      }
      tensors.set(tensor.name, tensor);
    }
  }

  const total = metadata.integer("split.tensors.count");
  if (tensors.size !== total) {
    throw mixed(
      path,
      `${total} tensors in ${count} shards (split.tensors.count)`,
      `${tensors.size}`,
    );
  }
  return tensors;
}

/** The paths of all shards in order, given the path of any. */
function shardPaths(path: string, count: number): readonly string[] {
  const name = /^(.*)-\d{5}-of-(\d{5})\.gguf$/s.exec(path);
  if (name === null || Number(name[2]) !== count) {
    throw new GgufError({
      file: path,
      expected: `a name that ends in -00001-of-${digits(count)}.gguf, as it is one of ${count} shards`,
      found: "another one",
      advice: "Give the shards their original names back.",
    });
  }
  const shard = (number: number): string => `${name[1]}-${digits(number + 1)}-of-${name[2]}.gguf`;
  return Array.from({ length: count }, (_, number) => shard(number));
}

function digits(number: number): string {
  return String(number).padStart(5, "0");
}

async function openLater(
  paths: readonly string[],
  number: number,
  open: (path: string) => Promise<ByteSource>,
): Promise<ByteSource> {
  const file = paths[number]!;
  try {
    return await open(file);
  } catch (cause) {
    throw new GgufError({
      file,
      expected: `shard ${number + 1} of ${paths.length} beside the first`,
      found: `that it cannot be opened (${cause instanceof Error ? cause.message : cause})`,
      advice: `All ${paths.length} files of the model must lie in one folder.`,
      cause,
    });
  }
}

/**
 * Each shard says which one it is: a renamed file would otherwise give a model of scrambled layers.
 */
function checkNumber(paths: readonly string[], number: number, file: string, shard: Parsed): void {
  const metadata = new Metadata({ name: file, metadata: shard.metadata });
  const found = metadata.integer("split.no");
  const count = metadata.integer("split.count");
  if (found === number && count === paths.length) return;
  if (number === 0 && paths[found] === file) {
    throw new GgufError({
      file,
      expected: `the first of ${count} shards`,
      found: `shard ${found + 1}`,
      advice: `Open ${paths[0]}: it has the metadata, and the others are found from it.`,
    });
  }
  const expected = `shard ${number + 1} of ${paths.length} (split.no ${number})`;
  throw mixed(file, expected, `shard ${found + 1} of ${count}`);
}

function mixed(file: string, expected: string, found: string): GgufError {
  const advice = "The shards have been renamed, or are not of one model: fetch them again.";
  return new GgufError({ file, expected, found, advice });
}
