// What a file holds and what running it would take, from its header alone.

import { cacheBytes } from "../context/cache/kv-cache.ts";
import { type ModelConfig, readConfig } from "./config.ts";
import { type GgufFile, openGguf } from "./gguf/gguf.ts";
import type { ByteSource } from "./gguf/source.ts";
import { type EngineOptions, resolveSetting } from "./options.ts";
import { planBytes } from "./plans.ts";
import { createTokenizer, type Tokenizer } from "./tokenizer/tokenizer.ts";
import { checkTensors, gpuBytes } from "./weights.ts";

/** Exact bytes on the GPU. */
export interface MemoryPlan {
  readonly weights: number;
  readonly cache: number;
  /** Activations, staging and parameters. */
  readonly scratch: number;
  readonly total: number;
  readonly context: number;
}

/** What `Engine.load` with the same options would allocate. */
export function planMemory(
  file: GgufFile,
  config: ModelConfig,
  options: EngineOptions = {},
): MemoryPlan {
  const { cache, chunk, context } = resolveSetting(config, options);
  const weights = gpuBytes(file, config);
  const pages = cacheBytes(cache);
  const scratch = planBytes(config, cache.shape, chunk);
  return { weights, cache: pages, scratch, total: weights + pages + scratch, context };
}

/** The header of a model file, read and checked: all that is needed to plan a run, or to refuse it. */
export interface ModelFile {
  readonly file: GgufFile;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  /** Milliseconds that reading it took. */
  readonly openMs: number;
  /** Opens the file another time. */
  reopen(): Promise<GgufFile>;
}

/** Opens a file that can be run, or says why it cannot. The caller closes `file`, or hands all to an engine. */
export async function openModel(
  path: string,
  openFile: (path: string) => Promise<ByteSource>,
): Promise<ModelFile> {
  const began = performance.now();
  const file = await openGguf(path, openFile);
  try {
    const config = readConfig(file);
    checkTensors(file, config);
    const tokenizer = createTokenizer(file.metadata);
    const openMs = performance.now() - began;
    return { file, config, tokenizer, openMs, reopen: () => openGguf(path, openFile) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The tokenizer of a file, which may be a vocabulary and nothing else. */
export async function openTokenizer(
  path: string,
  openFile: (path: string) => Promise<ByteSource>,
): Promise<Tokenizer> {
  const file = await openGguf(path, openFile);
  try {
    return createTokenizer(file.metadata);
  } finally {
    await file.close();
  }
}
