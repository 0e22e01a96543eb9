// Opens a model file: reads and checks its header, and plans the memory that running it takes.

import { largestThat } from "../../numbers.ts";
import { type GgufFile, openGguf } from "../gguf/gguf.ts";
import type { ByteSource } from "../gguf/source.ts";
import { type EngineOptions, resolveSetting } from "../options.ts";
import { type MemoryPlan, memoryPlan } from "../run/memory-plan.ts";
import { readFileSampling } from "../sampler/file-sampling.ts";
import type { SamplingOptions } from "../sampler/sampling-options.ts";
import { createTokenizer, type Tokenizer } from "../tokenizer/tokenizer.ts";
import { type ModelConfig, readConfig } from "./config.ts";
import { checkTensors } from "./weights.ts";

/** What `Engine.load` with the same options would allocate. */
export function planMemory(
  file: GgufFile,
  config: ModelConfig,
  options: EngineOptions = {},
): MemoryPlan {
  return memoryPlan(file, config, resolveSetting(config, options));
}

/** No text is longer than this. */
const LONGEST = 2 ** 31;

/**
 * The largest context whose plan fits this many bytes; 0 if none does, Infinity if the length does
 * not matter, as under attention that forgets.
 */
export function largestContext(
  file: GgufFile,
  config: ModelConfig,
  options: EngineOptions,
  bytes: number,
): number {
  const fits = (context: number) =>
    planMemory(file, config, { ...options, context }).total <= bytes;
  if (!fits(1)) return 0;
  if (fits(LONGEST)) return Number.POSITIVE_INFINITY;
  return largestThat(1, LONGEST, fits);
}

/** The header of a model file, read and checked. */
export interface ModelFile {
  readonly file: GgufFile;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  /** `general.sampling.*` of the file. */
  readonly samplingDefaults: SamplingOptions;
  /** Milliseconds that reading the header took. */
  readonly openMs: number;
  /** Opens the file again. */
  reopen(): Promise<GgufFile>;
}

/** Opens a file that can be run. The caller closes `file`, or passes the result to an engine. */
export async function openModel(
  path: string,
  openFile: (path: string) => Promise<ByteSource>,
): Promise<ModelFile> {
  const began = performance.now();
  const file = await openGguf(path, openFile);
  try {
    const read = readModel(file);
    const openMs = performance.now() - began;
    return { file, ...read, openMs, reopen: () => openGguf(path, openFile) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Reads what a run needs of a file's header; throws a `UserError` if the file cannot be run. */
export function readModel(
  file: GgufFile,
): Pick<ModelFile, "config" | "tokenizer" | "samplingDefaults"> {
  const config = readConfig(file);
  checkTensors(file, config);
  const samplingDefaults = readFileSampling(file).options;
  return { config, tokenizer: createTokenizer(file.metadata), samplingDefaults };
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
