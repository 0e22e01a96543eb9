// The public surface of dawnstream, and nothing else is public.

import { Engine as LoadedEngine } from "./engine/engine.ts";
import {
  largestContext as largest,
  type MemoryPlan,
  openModel,
  openTokenizer,
  planMemory as plan,
} from "./engine/inspect.ts";
import type { EngineOptions, LoadProgress } from "./engine/options.ts";
import type { Tokenizer } from "./engine/tokenizer/tokenizer.ts";
import { openFile } from "./platform/file.ts";
import { nodePlatform, SHIPPED_MODEL } from "./platform/node.ts";

export type { AttentionOptions, AttentionPolicy } from "./context/attention-policy.ts";
export { isVisible, parseAttention } from "./context/attention-policy.ts";
export { parseRope } from "./context/rope-choice.ts";
export type { RopeScaling } from "./context/rope-scaling.ts";
export type { Truncation, TruncationOptions } from "./context/text/truncation.ts";
export { truncate } from "./context/text/truncation.ts";
export type { AttentionRow } from "./engine/attention-probe.ts";
export type { AttentionRowsOptions } from "./engine/attention-rows.ts";
export type { ModelConfig } from "./engine/config.ts";
export { UnsupportedError } from "./engine/config.ts";
export type { Eviction } from "./engine/evictions.ts";
export type {
  FinishReason,
  GenerateOptions,
  GenerationResult,
  Piece,
} from "./engine/generation.ts";
export { GgufError } from "./engine/gguf/gguf.ts";
export type { PrefixCache } from "./engine/prefix-cache.ts";
export type { SamplingOptions, TokenChoice, TokenLogprob } from "./engine/sampler/sampler.ts";
export type { Score } from "./engine/score.ts";
export type { DecodeOptions, EncodeOptions, TokenDecoder } from "./engine/tokenizer/tokenizer.ts";
export type { TokenUsage } from "./engine/usage.ts";
export { ContextOverflowError } from "./engine/usage.ts";
export type { CellType } from "./kernels/cells.ts";
export { CapacityError, DeviceLostError, GpuError } from "./kernels/device.ts";
export { UserError } from "./kernels/errors.ts";
export type { KernelTime, PhaseProfile } from "./kernels/profiler.ts";
export { NoAdapterError } from "./platform/dawn.ts";
export type { EngineOptions, LoadProgress, MemoryPlan, Tokenizer };
export { SHIPPED_MODEL };

export type Engine = LoadedEngine;
export const Engine = {
  /**
   * Loads a GGUF file onto the GPU. Throws a `UserError` for what is wrong with the file, the options or the machine.
   *
   *     await using engine = await Engine.load(SHIPPED_MODEL, { context: 512 });
   *     for await (const { text } of engine.generate("Once upon a time")) process.stdout.write(text);
   */
  async load(path: string, options: EngineOptions = {}): Promise<Engine> {
    return LoadedEngine.open(nodePlatform, await openModel(path, openFile), options);
  },
};

/** The tokenizer of a GGUF file, which may be a vocabulary and nothing else. Needs no GPU. */
export function loadTokenizer(path: string): Promise<Tokenizer> {
  return openTokenizer(path, openFile);
}

/** Exact bytes on the GPU that `Engine.load` would take with the same options, from the header of the file alone. */
export async function planMemory(path: string, options: EngineOptions = {}): Promise<MemoryPlan> {
  const { file, config } = await openModel(path, openFile);
  try {
    return plan(file, config, options);
  } finally {
    await file.close();
  }
}

/**
 * The largest context that fits so many bytes on the GPU, with `Engine.load`'s options; 0 where not even one token does,
 * Infinity where the length does not matter, as under attention that forgets. From the header of the file alone.
 */
export async function largestContext(
  path: string,
  bytes: number,
  options: EngineOptions = {},
): Promise<number> {
  const { file, config } = await openModel(path, openFile);
  try {
    return largest(file, config, options, bytes);
  } finally {
    await file.close();
  }
}
