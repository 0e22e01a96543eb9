// The public surface of dawnstream, and nothing else is public.

import { Engine as LoadedEngine } from "./engine/engine.ts";
import {
  largestContext as largest,
  openModel,
  openTokenizer,
  planMemory as plan,
} from "./engine/model/open.ts";
import {
  type DeviceChoice,
  type EngineOptions,
  type LoadProgress,
  readEngineOptions,
  type WhenFull,
} from "./engine/options.ts";
import type { MemoryPlan } from "./engine/run/memory-plan.ts";
import type { Tokenizer } from "./engine/tokenizer/tokenizer.ts";
import { byteSize, text } from "./option-reader.ts";
import { openFile } from "./platform/file.ts";
import { localModel } from "./platform/models/pull.ts";
import { nodePlatform, SHIPPED_MODEL } from "./platform/node.ts";

export type { CacheGroup } from "./context/cache/cache-pages.ts";
export type { Appended, OnEvict, PageCopy, PageEntry } from "./context/cache/page-table.ts";
export type { Prefix, PrefixCache } from "./context/cache/prefix-cache.ts";
export type { KeyStorage } from "./context/cache/rotations.ts";
export type { Sequence } from "./context/cache/sequence.ts";
export { SessionFileError } from "./context/cache/session-file.ts";
export type {
  AttentionChoice,
  AttentionOptions,
  AttentionPolicy,
  AttentionText,
} from "./context/positions/attention-policy.ts";
export { isVisible, parseAttention } from "./context/positions/attention-policy.ts";
export type { RopeChoiceOption, RopeText } from "./context/positions/rope-choice.ts";
export { parseRope } from "./context/positions/rope-choice.ts";
export type {
  QueryTemperature,
  RopeDivisors,
  RopeModel,
  RopeScaling,
} from "./context/positions/rope-scaling.ts";
export { readConversation, writeConversation } from "./context/text/conversation.ts";
export type { Embedder, Pooling } from "./context/text/embedder.ts";
export type { MemoryOptions, MemoryText } from "./context/text/memory/conversation-memory.ts";
export { conversationMemory, parseMemory } from "./context/text/memory/conversation-memory.ts";
export type {
  ConversationMemory,
  Fate,
  MemoryBudget,
  Recollection,
} from "./context/text/memory/memory.ts";
export { MessageTooLongError } from "./context/text/memory/memory.ts";
export type { Summarizing } from "./context/text/memory/summary.ts";
export type { Message, Role } from "./context/text/message.ts";
export type {
  AnsweringEngine,
  AnswerOf,
  AnswerOptions,
  GenerateOptionsOf,
  GeneratingOptions,
  RetrievalPrompt,
  Source,
  Sources,
} from "./context/text/retrieval/answer.ts";
export { generateWithRetrieval, plainPrompt } from "./context/text/retrieval/answer.ts";
export type { Chunk, IndexContents, IndexSetting } from "./context/text/retrieval/index-file.ts";
export { decodeIndex, IndexFileError } from "./context/text/retrieval/index-file.ts";
export type {
  AddOptions,
  IndexOptions,
  RetrievalMode,
  RetrieveOptions,
  ScoredChunk,
} from "./context/text/retrieval/text-index.ts";
export { TextIndex } from "./context/text/retrieval/text-index.ts";
export type { Generation } from "./context/text/running-text.ts";
export type {
  SummaryNode,
  SummaryOptions,
  SummaryTree,
} from "./context/text/summaries.ts";
export { summarize } from "./context/text/summaries.ts";
export type { Summarizer, SummaryRequest } from "./context/text/summarizer.ts";
export type { TextTokenizer } from "./context/text/text-tokenizer.ts";
export type {
  Border,
  Truncation,
  TruncationOptions,
  TruncationStrategy,
} from "./context/text/truncation.ts";
export { truncate } from "./context/text/truncation.ts";
export type {
  MapWindowsOptions,
  StreamTokenizer,
  TextSource,
  TextWindow,
  WindowOptions,
} from "./context/text/windows.ts";
export { mapWindows, windows } from "./context/text/windows.ts";
export type { ChatOptions, ChatResult } from "./engine/chat/chat.ts";
export type { ChatPrompt, Spoken } from "./engine/chat/chat-prompt.ts";
export { chatPrompt } from "./engine/chat/chat-prompt.ts";
export type { RenderOptions, TemplateTokens } from "./engine/chat/chat-template.ts";
export { ChatTemplate } from "./engine/chat/chat-template.ts";
export type { ChosenTemplate } from "./engine/chat/chosen-template.ts";
export { chatTemplateOf } from "./engine/chat/chosen-template.ts";
export type { Limit as TemplateLimit, Limits as TemplateLimits } from "./engine/chat/limits.ts";
export { TemplateLimitError } from "./engine/chat/limits.ts";
export type { OpenedSession } from "./engine/chat/saved-sessions.ts";
export type { DraftChoice, DraftEngine, DraftText } from "./engine/drafts/draft-option.ts";
export type { EngineUsage, LoadedFigures } from "./engine/engine.ts";
export type { Eviction } from "./engine/generation/evictions.ts";
export type { GenerateOptions } from "./engine/generation/generation-request.ts";
export type {
  FinishReason,
  GenerationResult,
  Piece,
} from "./engine/generation/generation-result.ts";
export type { DraftUsage, TokenUsage } from "./engine/generation/token-usage.ts";
export { ContextOverflowError } from "./engine/generation/token-usage.ts";
export { GgufError } from "./engine/gguf/gguf.ts";
export type { GgufFault } from "./engine/gguf/reader.ts";
export type { Architecture, HeadNorms } from "./engine/model/architectures.ts";
export type { ModelConfig } from "./engine/model/config.ts";
export { UnsupportedError } from "./engine/model/model-metadata.ts";
export type { OpenedModel } from "./engine/model/opened-model.ts";
export type { Rotation } from "./engine/model/rotation.ts";
export type { LayerTraits } from "./engine/model/traits.ts";
export type { CacheSetting, GroupSetting, RequestLimits, Setting } from "./engine/options.ts";
export { TooManyRequestsError } from "./engine/run/admission.ts";
export type { AttentionRow } from "./engine/run/attention-probe.ts";
export type { EngineProfiler } from "./engine/run/engine-profiler.ts";
export { EngineClosedError, type RequestCounts } from "./engine/run/loaded-model.ts";
export { ModelChangedError } from "./engine/run/recovery.ts";
export type { Choice, Output, Rows, StepReport, StepRunner, Wanted } from "./engine/run/step.ts";
export type {
  SamplingOptions,
  TokenChoice,
  TokenLogprob,
  TopLogits,
} from "./engine/sampler/sampler.ts";
export type { LogitBias } from "./engine/sampler/sampling-options.ts";
export type { AttentionRowsOptions } from "./engine/tasks/attention-rows.ts";
export type { EmbedOptions } from "./engine/tasks/embedding.ts";
export type { Score } from "./engine/tasks/score.ts";
export type {
  EngineSummarizerOptions,
  EngineSummaryOptions,
  GeneratingModel,
} from "./engine/tasks/summarizer.ts";
export { engineSummarizer, instructionBehind } from "./engine/tasks/summarizer.ts";
export type { Charsmap } from "./engine/tokenizer/algorithms/charsmap.ts";
export type { Cut } from "./engine/tokenizer/algorithms/digit-groups.ts";
export type { PreTokenizer, Stage } from "./engine/tokenizer/algorithms/pre-tokenizer.ts";
export type { WordNormalizer } from "./engine/tokenizer/algorithms/words.ts";
export type { EndOfGeneration } from "./engine/tokenizer/end-of-generation.ts";
export type { SpecialIds } from "./engine/tokenizer/special-ids.ts";
export type {
  DecodeOptions,
  EncodeOptions,
  TokenDecoder,
  TokenEncoder,
} from "./engine/tokenizer/tokenizer.ts";
export { NoBorderError } from "./engine/tokenizer/tokenizer.ts";
export type {
  TokenizerModel,
  TokenType,
  UnigramRules,
  Vocabulary,
} from "./engine/tokenizer/vocabulary.ts";
export { UserError } from "./errors.ts";
export type { CacheShape } from "./kernels/attention/head-shape.ts";
export type { KvType, KvType as CellType } from "./kernels/attention/kv-types.ts";
export type { Draw } from "./kernels/choice/choice.ts";
export type { Feature, LimitName } from "./kernels/gpu/device.ts";
export { CapacityError, DeviceLostError, GpuError } from "./kernels/gpu/device.ts";
export type { KernelTime, PhaseProfile } from "./kernels/gpu/profiler.ts";
export type { ActivationFunction } from "./kernels/reference.ts";
export { NoAdapterError } from "./platform/dawn.ts";
export type {
  PulledFile,
  PulledModel,
  PullOptions,
  PullProgress,
} from "./platform/models/pull.ts";
export { pullModel } from "./platform/models/pull.ts";
export { streamText } from "./platform/text.ts";
export type { DeviceChoice, EngineOptions, LoadProgress, MemoryPlan, Tokenizer, WhenFull };
export { SHIPPED_MODEL };

export type Engine = LoadedEngine;
export const Engine = {
  /**
   * Loads a GGUF file onto the GPU, by its path or, as `pullModel` takes it, by its name: such a
   * model is fetched if it is not in the cache folder yet. Throws a `UserError` if the file, an
   * option or the machine is wrong.
   *
   *     const engine = await Engine.load(SHIPPED_MODEL, { context: 512 });
   *     try {
   *       const pieces = engine.generate("Once upon a time");
   *       for await (const { text } of pieces) process.stdout.write(text);
   *     } finally {
   *       await engine.close(); // from Node 24 on, `await using engine = …` does the same
   *     }
   */
  async load(path: string, options: EngineOptions = {}): Promise<Engine> {
    readEngineOptions(options); // before the file is opened
    const { onProgress, onWarning } = options;
    const file = await localModel(text(path, "path"), {
      onProgress: ({ done, total }) => onProgress?.({ phase: "download", done, total }),
      onWarning,
    });
    return LoadedEngine.open(nodePlatform, await openModel(file, openFile), options);
  },
};

/**
 * The tokenizer of a GGUF file, which may be a vocabulary and nothing else, by path or name. Needs
 * no GPU.
 */
export async function loadTokenizer(path: string): Promise<Tokenizer> {
  return openTokenizer(await localModel(text(path, "path")), openFile);
}

/**
 * Exact bytes on the GPU that `Engine.load` would take with the same options, from the header of
 * the file alone.
 */
export async function planMemory(path: string, options: EngineOptions = {}): Promise<MemoryPlan> {
  readEngineOptions(options);
  const { file, config } = await openModel(await localModel(text(path, "path")), openFile);
  try {
    return plan(file, config, options);
  } finally {
    await file.close();
  }
}

/**
 * The largest context that fits this many bytes on the GPU, a number or a size such as "1GiB", with
 * `Engine.load`'s options; 0 if not even one token fits, Infinity if the length does not matter, as
 * under attention that forgets. Reads only the header of the file.
 */
export async function largestContext(
  path: string,
  bytes: number | string,
  options: EngineOptions = {},
): Promise<number> {
  readEngineOptions(options);
  const room = byteSize(bytes, "size");
  const { file, config } = await openModel(await localModel(text(path, "path")), openFile);
  try {
    return largest(file, config, options, room);
  } finally {
    await file.close();
  }
}
export type { RopeSetting } from "./engine/rope-setting.ts";
export type { NormKind } from "./kernels/rows/rows.ts";
