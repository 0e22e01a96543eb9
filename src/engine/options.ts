// What a user may ask for at load, checked against the model and made total.

import type { CacheGroup } from "../context/cache/cache-pages.ts";
import { KEY_STORAGES, type KeyStorage } from "../context/cache/rotations.ts";
import {
  type AttentionChoice,
  type AttentionPolicy,
  attentionPolicy,
  attentionReader,
  FULL_ATTENTION,
  pagesNeeded,
  withSlidingWindow,
} from "../context/positions/attention-policy.ts";
import {
  chooseRope,
  freqBaseReader,
  freqScaleReader,
  type RopeChoiceOption,
  ropeReader,
  withFreqScale,
} from "../context/positions/rope-choice.ts";
import type { RopeModel, RopeScaling } from "../context/positions/rope-scaling.ts";
import { OptionError, UserError } from "../errors.ts";
import type { CacheShape } from "../kernels/attention/head-shape.ts";
import { KV_FORMATS, KV_TYPES, type KvType } from "../kernels/attention/kv-types.ts";
import {
  type DeviceOptions,
  FEATURES,
  type Feature,
  LIMITS,
  type LimitName,
} from "../kernels/gpu/device.ts";
import type { PhaseProfile } from "../kernels/gpu/profiler.ts";
import {
  byteSize,
  callback,
  group,
  invalid,
  isRecord,
  isWhole,
  listOf,
  type OptionsOf,
  type Reader,
  type Readers,
  readOptions,
  whole,
  word,
} from "../option-reader.ts";
import type { ModelConfig } from "./model/config.ts";
import { cacheGroups, widestWindow } from "./model/traits.ts";

/** What is under way while a model is loaded, or while a request waits for kernels that it is the first to need. */
export interface LoadProgress {
  /**
   * "adapter": it is measured, once on a machine; "weights": they are uploaded; "kernels": they are compiled, which takes
   * a software adapter seconds at the first run, until the driver finds them in its cache.
   */
  readonly phase: "adapter" | "weights" | "kernels";
  /** Trials, bytes of the file or kernels, as many as are done and in all. */
  readonly done: number;
  readonly total: number;
}

export interface EngineOptions {
  /** The most tokens of a text under full attention. Default: what the model was trained for, at most 4096. */
  readonly context?: number | undefined;
  /** What a query sees. As text: "sinks:4+1020". Default: full attention, or the model's own sliding window. */
  readonly attention?: AttentionChoice | undefined;
  /**
   * What happens when a text under full attention fills the context. "error" (default): a request that could not end
   * within it is refused; "stop": it ends there; `{ keep: n }`: its first n tokens stay, the oldest others are forgotten. As text: "slide:n".
   * Refused beside attention that forgets, under which a text never fills the context.
   */
  readonly whenFull?: WhenFull | `slide:${number}` | undefined;
  /** How rotary positions are scaled; "auto" chooses for the context. As text: "yarn:4". Default: what the file says. */
  readonly rope?: RopeChoiceOption | "auto" | undefined;
  /** The base of the rotary frequencies in place of the file's. */
  readonly ropeFreqBase?: number | undefined;
  /** What the rotary frequencies are multiplied with, as in llama.cpp: 1 over the factor of linear scaling or YaRN. */
  readonly ropeFreqScale?: number | undefined;
  /**
   * How keys lie in the pages: rotated once when written, or raw and turned while read. Default: rotated, but for
   * scalings whose frequencies move with the text.
   */
  readonly keys?: KeyStorage | undefined;
  /**
   * How keys and values are stored: as floats, or as ggml's Q8_0 and Q4_0 in blocks of 32 numbers of a head, which has to
   * be a multiple of that. A number takes 4, 2, 1.125 or 0.625 bytes. Default: f16.
   */
  readonly kv?: KvType | undefined;
  /** P: tokens a page of the cache. Default: 16. */
  readonly pageSize?: number | undefined;
  /** The most tokens of a prompt that are computed at a time. Default: 256. */
  readonly chunk?: number | undefined;
  /** Requests that run at the same time, at most; others wait. Default: 8. It costs memory only when used. */
  readonly sequences?: number | undefined;
  /**
   * Tokens that the cache has room for, of all texts together; at least as many as one text may come to hold. Default: those. A
   * request that there is no room for waits for those that run.
   */
  readonly cacheTokens?: number | undefined;
  /** Requests that may wait; one more is refused with a `TooManyRequestsError`. Default: 1024. */
  readonly maxWaiting?: number | undefined;
  /** Has every kernel timed (`engine.profiler`) and is told, when the engine closes, where the GPU's time has gone. */
  readonly onProfile?: ((phases: readonly PhaseProfile[]) => void) | undefined;
  /** What of the adapter is left unused, for tests and comparisons. */
  readonly device?: DeviceChoice | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** What a user should know and need not stop for. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

/** What of an adapter is not used. */
export interface DeviceChoice {
  readonly refuse?: readonly Feature[];
  /** Those that are sizes take a text, too: "1GiB". */
  readonly limits?: {
    readonly [L in LimitName]?: L extends `${string}Size` ? number | string : number;
  };
}

/** What happens when a text under full attention fills the context. */
export type WhenFull = "error" | "stop" | { readonly keep: number };

const WHEN_FULL = "error, stop or slide:K, K the tokens to keep";

/** Reads "error", "stop" or "slide:4", or what they stand for. */
export const whenFullReader: Reader<WhenFull> = (value, name) => {
  if (value === "error" || value === "stop") return value;
  if (typeof value === "string") {
    const [, keep] = /^slide:(\d+)$/.exec(value) ?? [];
    if (isWhole(Number(keep), 0)) return { keep: Number(keep) };
  }
  const isKeep = isRecord(value) && Object.keys(value).join() === "keep";
  if (isKeep && isWhole(value.keep, 0)) return { keep: value.keep };
  throw invalid(name, value, WHEN_FULL, ["error", "stop", "slide"]);
};

const refusable = listOf(word(FEATURES), `an array of ${FEATURES.join(", ")}`);

export const DEVICE_READERS = {
  refuse: refusable,
  limits: group(
    Object.fromEntries(
      LIMITS.map((limit) => [limit, limit.endsWith("Size") ? byteSize : whole(0)]),
    ) as Record<(typeof LIMITS)[number], Reader<number>>,
  ),
} satisfies Readers<DeviceOptions>;

export const ENGINE_READERS = {
  context: whole(1, 2 ** 31),
  attention: attentionReader,
  whenFull: whenFullReader,
  rope: (value: unknown, name: string) => (value === "auto" ? value : ropeReader(value, name)),
  ropeFreqBase: freqBaseReader,
  ropeFreqScale: freqScaleReader,
  keys: word(KEY_STORAGES),
  kv: word(KV_TYPES),
  pageSize: whole(1, 1024),
  chunk: whole(1, 4096),
  sequences: whole(1, 1024),
  cacheTokens: whole(1, 2 ** 31),
  maxWaiting: whole(0, 2 ** 31),
  onProfile: callback,
  device: group(DEVICE_READERS),
  onProgress: callback,
  onWarning: callback,
} satisfies Readers<EngineOptions>;

export type ReadEngineOptions = OptionsOf<typeof ENGINE_READERS>;

/** Options as they were given, read; what a model makes of them is its setting. */
export function readEngineOptions(options: EngineOptions): ReadEngineOptions {
  return readOptions("Engine.load", options, ENGINE_READERS);
}

/** How the cache is made. */
export interface CacheSetting {
  readonly shape: CacheShape;
  readonly keys: KeyStorage;
  readonly groups: readonly CacheGroup[];
}

/** How many requests there may be. */
export interface RequestLimits {
  /** Those that run at the same time. */
  readonly sequences: number;
  /** Those that wait to begin. */
  readonly maxWaiting: number;
}

/** Options resolved for a model. */
export interface Setting {
  readonly context: number;
  readonly chunk: number;
  readonly policy: AttentionPolicy;
  /** Whether a text that fills the context ends there, rather than being refused. */
  readonly stopsWhenFull: boolean;
  /** The tokens that stay if a text slides when it fills the context; undefined if it does not. */
  readonly keptWhenFull: number | undefined;
  readonly scaling: RopeScaling;
  readonly ropeModel: RopeModel;
  readonly cache: CacheSetting;
  readonly requests: RequestLimits;
  readonly warnings: readonly string[];
}

const DEFAULT_CONTEXT = 4096;
const DEFAULT_CHUNK = 256;
const DEFAULT_PAGE = 16;
const DEFAULT_SEQUENCES = 8;
const DEFAULT_WAITING = 1024;

export function resolveSetting(config: ModelConfig, given: EngineOptions): Setting {
  const options = readEngineOptions(given);
  const trained = config.trainedContext;
  const { context = Math.min(trained, DEFAULT_CONTEXT), pageSize = DEFAULT_PAGE } = options;
  const { chunk = Math.min(DEFAULT_CHUNK, context), cacheTokens = 0 } = options;
  const { sequences = DEFAULT_SEQUENCES, maxWaiting = DEFAULT_WAITING } = options;
  const { attention = FULL_ATTENTION, whenFull } = options;
  const keptWhenFull = typeof whenFull === "object" ? whenFull.keep : undefined;
  const sliding = slidingWhenFull(attention, context, keptWhenFull);
  const groups = cacheGroups(config.traits);
  const policy = withSlidingWindow(sliding, widestWindow(config.traits), context);
  if (whenFull !== undefined) checkCanFill(whenFull, attention, policy);
  const choice =
    options.rope === "auto"
      ? chooseRope({ trainedContext: trained, ...config.rope }, context)
      : undefined;
  const asked = options.rope === "auto" ? undefined : options.rope;
  const scaling = withFreqScale(
    choice?.scaling ?? asked ?? config.rope.scaling,
    options.ropeFreqScale,
  );
  const keys = options.keys ?? (scaling.kind === "dynamic-ntk" ? "raw" : "rotated");
  if (keys === "rotated" && scaling.kind === "dynamic-ntk") {
    throw new UserError(
      "RoPE scaling dynamic-ntk moves its frequencies: its keys cannot be stored rotated.",
    );
  }
  return {
    context,
    chunk,
    policy,
    stopsWhenFull: whenFull === "stop",
    keptWhenFull,
    scaling,
    ropeModel: {
      width: config.rope.width,
      base: options.ropeFreqBase ?? config.rope.base,
      originalContext: config.rope.originalContext,
      context,
    },
    cache: {
      shape: cacheShape(config, pageSize, checkedKvType(options.kv ?? "f16", config.headWidth)),
      keys,
      groups: groups.map(({ layers, window }) => {
        const seen = withSlidingWindow(policy, window, context);
        const one = pagesNeeded(seen, context, chunk, pageSize);
        return { layers, window, pages: Math.max(one, Math.ceil(cacheTokens / pageSize)) };
      }),
    },
    requests: { sequences, maxWaiting },
    warnings: choice ? [`RoPE: ${choice.reason}`] : warningsOf(config, context, policy, scaling),
  };
}

/**
 * Full attention that slides when the context is full is, from the first token on, attention with as many sinks as are
 * kept and a window of the rest: nothing is forgotten before the context is full, and no key ever moves.
 */
export function slidingWhenFull(
  policy: AttentionPolicy,
  context: number,
  kept: number | undefined,
): AttentionPolicy {
  if (kept === undefined || policy.window !== Number.POSITIVE_INFINITY) return policy;
  const sinks = whole(0, context - 1)(kept, "number of kept tokens");
  return attentionPolicy({ kind: "sinks", sinks, window: context - sinks });
}

/** Refuses what is to be done when a context is full if it never will be. */
function checkCanFill(
  whenFull: WhenFull,
  attention: AttentionPolicy,
  { window }: AttentionPolicy,
): void {
  const isForgetful = attention.window !== Number.POSITIVE_INFINITY;
  const isModels = typeof whenFull !== "object" && window !== Number.POSITIVE_INFINITY;
  if (!isForgetful && !isModels) return;
  const what = isForgetful ? `attention ${attention.name}` : `the model's own window of ${window}`;
  const choice = typeof whenFull === "object" ? `slide:${whenFull.keep}` : whenFull;
  throw new OptionError(
    "whenFull",
    `"${choice}": ${what} forgets, so that a text never fills the context; leave it out` +
      `${isForgetful ? ", or the attention" : ""}.`,
  );
}

/** A kv type that heads are whole blocks of. */
function checkedKvType(kvType: KvType, headWidth: number): KvType {
  const { blockNumbers } = KV_FORMATS[kvType];
  if (headWidth % blockNumbers === 0) return kvType;
  throw new UserError(
    `${kvType} pages need heads of a multiple of ${blockNumbers} numbers; this model's have ${headWidth}: ` +
      "use f16 or f32.",
  );
}

function cacheShape(config: ModelConfig, pageSize: number, kvType: KvType): CacheShape {
  const { heads, kvHeads, headWidth } = config;
  return { heads, kvHeads, headWidth, pageSize, kvType };
}

function warningsOf(
  config: ModelConfig,
  context: number,
  policy: AttentionPolicy,
  scaling: RopeScaling,
): string[] {
  const trained = config.trainedContext;
  const reach = Math.min(context, policy.sinks + policy.window);
  if (reach <= trained || scaling.kind !== "none") return [];
  const what =
    policy.window === Number.POSITIVE_INFINITY ? "A context" : `Attention ${policy.name}: a reach`;
  return [
    `${what} of ${reach} tokens is longer than the ${trained} that the model was trained for: ` +
      "expect worse text beyond, or scale its positions (--rope).",
  ];
}
