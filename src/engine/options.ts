// The options of loading: checked against the model, and filled in with defaults.

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
  freqBaseReader,
  freqScaleReader,
  type RopeChoiceOption,
  ropeReader,
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
  yesOrNo,
} from "../option-reader.ts";
import { encoderOptions } from "./encoder-options.ts";
import type { ModelConfig } from "./model/config.ts";
import type { Rotation } from "./model/rotation.ts";
import { cacheGroups, widestWindow } from "./model/traits.ts";
import { type RopeSetting, resolveRope, ropeModelOf } from "./rope-setting.ts";
import type { StepReport } from "./run/step.ts";

/**
 * Progress while a model is loaded, or while a request waits for kernels that no earlier one
 * needed.
 */
export interface LoadProgress {
  /**
   * "download": a model that is given by name is fetched, if it is not here yet; "adapter": the
   * adapter is measured, once on a machine; "weights": weights are uploaded; "kernels": kernels are
   * compiled. This takes seconds at the first run on a software adapter; later runs find them in
   * the driver's cache.
   */
  readonly phase: "download" | "adapter" | "weights" | "kernels";
  /** Bytes, trials, bytes or kernels: how many are done, and how many there are. */
  readonly done: number;
  readonly total: number;
}

export interface EngineOptions {
  /**
   * The most tokens of a text under full attention. Default: what the model was trained for, at
   * most 4096.
   */
  readonly context?: number | undefined;
  /**
   * The attention policy. As text: "sinks:4+1020". Default: full attention, or the model's own
   * sliding window.
   */
  readonly attention?: AttentionChoice | undefined;
  /**
   * What happens when a text under full attention fills the context. "error" (default): a request
   * that could not end within it is refused; "stop": the text ends there; `{ keep: n }`: its first
   * n tokens stay, the oldest others are evicted. As text: "slide:n". Refused together with
   * attention that forgets, under which a text never fills the context.
   */
  readonly whenFull?: WhenFull | `slide:${number}` | undefined;
  /**
   * How rotary positions are scaled; "auto" chooses for the context. As text: "yarn:4". Default:
   * what the file says.
   */
  readonly rope?: RopeChoiceOption | "auto" | undefined;
  /** The base of the rotary frequencies instead of the file's. */
  readonly ropeFreqBase?: number | undefined;
  /**
   * A factor of the rotary frequencies, as in llama.cpp: 1 over the factor of linear scaling or
   * YaRN.
   */
  readonly ropeFreqScale?: number | undefined;
  /**
   * How keys are stored in pages: rotated, or raw, to be rotated when they are read. Default:
   * rotated, except for scalings whose frequencies change with the length of the text.
   */
  readonly keys?: KeyStorage | undefined;
  /**
   * How keys and values are stored: as floats, or as ggml's Q8_0 or Q4_0 in blocks of 32 numbers,
   * if the head width is a multiple of 32. A number takes 4, 2, 1.125 or 0.625 bytes. Default: f16.
   */
  readonly kv?: KvType | undefined;
  /** P: tokens a page of the cache. Default: 16. */
  readonly pageSize?: number | undefined;
  /** The most tokens of a prompt that are computed at a time. Default: 256. */
  readonly chunk?: number | undefined;
  /**
   * Whether requests whose texts begin alike share the pages that hold the beginning: it is computed
   * once, and `usage.cachedTokens` counts what a request found. Default: true.
   */
  readonly prefixes?: boolean | undefined;
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
  /** Features and limits of the adapter to leave unused, for tests and comparisons. */
  readonly device?: DeviceChoice | undefined;
  /** Hears of each step that has run: which texts had a part in it, and with how many tokens. */
  readonly onStep?: ((step: StepReport) => void) | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Called with warnings. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

/** Features and limits of an adapter to leave unused. */
export interface DeviceChoice {
  readonly refuse?: readonly Feature[];
  /** Sizes may be texts: "1GiB". */
  readonly limits?: {
    readonly [L in LimitName]?: L extends `${string}Size` ? number | string : number;
  };
}

/** What happens when a text under full attention fills the context. */
export type WhenFull = "error" | "stop" | { readonly keep: number };

const WHEN_FULL = "error, stop or slide:K, K the tokens to keep";

/** Reads "error", "stop", "slide:4" or `{ keep: 4 }`. */
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
  prefixes: yesOrNo,
  sequences: whole(1, 1024),
  cacheTokens: whole(1, 2 ** 31),
  maxWaiting: whole(0, 2 ** 31),
  onProfile: callback,
  device: group(DEVICE_READERS),
  onStep: callback,
  onProgress: callback,
  onWarning: callback,
} satisfies Readers<EngineOptions>;

export type ReadEngineOptions = OptionsOf<typeof ENGINE_READERS>;

/** Reads options without a model; `Setting` is what they mean for a model. */
export function readEngineOptions(options: EngineOptions): ReadEngineOptions {
  return readOptions("Engine.load", options, ENGINE_READERS);
}

/** A cache group, and how its layers rotate: undefined if they do not. */
export interface GroupSetting extends CacheGroup {
  readonly rope: RopeSetting | undefined;
}

/** The groups and shape of the cache. */
export interface CacheSetting {
  readonly shape: CacheShape;
  readonly keys: KeyStorage;
  readonly groups: readonly GroupSetting[];
  /** Whether texts that begin alike share pages. */
  readonly prefixes: boolean;
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
  /** Whether a text ends when it fills the context, instead of being refused. */
  readonly stopsWhenFull: boolean;
  /**
   * The tokens that stay when a text fills the context and slides; undefined if it does not slide.
   */
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
  const read = readEngineOptions(given);
  const options = config.isEncoder ? encoderOptions(config, read) : read;
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
  const { model: ropeModel, scaling, reason } = resolveRope(config, options, context);
  const keys = options.keys ?? (scaling.kind === "dynamic-ntk" ? "raw" : "rotated");
  if (keys === "rotated" && scaling.kind === "dynamic-ntk") {
    throw new UserError(
      "RoPE scaling dynamic-ntk moves its frequencies: its keys cannot be stored rotated.",
    );
  }
  const ropeOf = (rotation: Rotation | undefined): RopeSetting | undefined => {
    if (rotation === config.rope) return { model: ropeModel, scaling };
    return rotation && { model: ropeModelOf(rotation, context), scaling: rotation.scaling };
  };
  return {
    context,
    chunk,
    policy,
    stopsWhenFull: whenFull === "stop",
    keptWhenFull,
    scaling,
    ropeModel,
    cache: {
      shape: cacheShape(config, pageSize, checkedKvType(options.kv ?? "f16", config.headWidth)),
      keys,
      prefixes: options.prefixes ?? true,
      groups: groups.map(({ layers, window, ahead, rotation }) => {
        const seen = withSlidingWindow(policy, window, context);
        const one = pagesNeeded(seen, context, chunk, pageSize);
        const all = Math.ceil(cacheTokens / pageSize);
        // However long texts are, as many as run need no more in a model's own window than this.
        const most = window === Number.POSITIVE_INFINITY ? all : Math.min(all, sequences * one);
        return { layers, window, ahead, pages: Math.max(one, most), rope: ropeOf(rotation) };
      }),
    },
    requests: { sequences, maxWaiting },
    warnings: reason ? [`RoPE: ${reason}`] : warningsOf(config, context, policy, scaling),
  };
}

/**
 * The policy of full attention that slides when the context is full: from the first token on it has
 * `keep` sinks, and a window of the rest. So nothing is evicted before the context is full, and no
 * key ever moves.
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

/** Refuses `whenFull` if the context can never fill. */
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

/** Checks that a head is a whole number of blocks of a kv type. */
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
