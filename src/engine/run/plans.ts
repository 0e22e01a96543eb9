// Prepares buffers, and the dispatches of every kind of step, before the first token.

import type { KvCache } from "../../context/cache/kv-cache.ts";
import type { Adapter } from "../../kernels/adapter/adapter.ts";
import { FEW, type Target, targetOf } from "../../kernels/adapter/target.ts";
import { chooseTokens, listTop } from "../../kernels/choice/choice.ts";
import { checkGrids, type Dispatch } from "../../kernels/gpu/commands.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import type { KernelLibrary } from "../../kernels/gpu/kernel.ts";
import { PARAM_BLOCK_BYTES, ParamBlock, type StepValues } from "../../kernels/gpu/params.ts";
import { USAGE } from "../../kernels/gpu/usage-flags.ts";
import { createScratch, scratchBytes } from "../model/activations.ts";
import type { ModelConfig } from "../model/config.ts";
import { type HeadScratch, head, layers, type Scratch } from "../model/forward.ts";
import { type HiddenPlan, hiddenStates } from "../model/hidden-states.ts";
import type { ModelWeights } from "../model/weights.ts";
import type { CacheSetting } from "../options.ts";
import { Choices, choicesBytes, LISTS_BYTES, TopLists } from "./read-back.ts";

export interface PlanOptions {
  readonly adapter: Adapter;
  readonly config: ModelConfig;
  readonly weights: ModelWeights;
  /** One for each cache group. */
  readonly caches: readonly KvCache[];
  /** The most tokens of a step. */
  readonly chunk: number;
}

/** The forward pass, prepared for one token or for several. */
export interface Plan {
  /** One for each cache group, since each has step values of its own. */
  readonly targets: readonly Target[];
  readonly layers: readonly Dispatch[];
  readonly head: readonly Dispatch[];
}

export interface Plans {
  readonly scratch: Omit<Scratch, "choices">;
  readonly headScratch: HeadScratch;
  /** What a step writes for its kernels. The head may follow in the same submit. */
  readonly params: {
    /** One for each cache group; kernels outside the layers read the first. */
    readonly layers: readonly ParamBlock[];
    readonly head: ParamBlock;
  };
  /** The plan for steps of this many tokens. */
  readonly plan: (tokens: number) => Plan;
  readonly single: Plan;
  readonly several: Plan;
  /** The layers up to a depth, for hidden states; prepared at the first call. */
  readonly hidden: (depth: number, tokens: number) => HiddenPlan;
  /** From the logits of rows on: the choice of the next tokens, or the likeliest ones. */
  readonly choose: readonly Dispatch[];
  readonly findTop: readonly Dispatch[];
  readonly choices: Choices;
  readonly top: TopLists;
  /** Logits on their way to the host. */
  readonly staging: GPUBuffer;
  /** All dispatches that are prepared before the first token. */
  readonly dispatches: readonly Dispatch[];
}

/**
 * Allocates scratch buffers, prepares all plans and starts compiling their kernels; `rehearse`
 * waits for these.
 */
export async function createPlans(
  device: Device,
  library: KernelLibrary,
  { adapter, config, weights, caches, chunk }: PlanOptions,
): Promise<Plans> {
  const { shape } = caches[0]!;
  const { scratch, head: headScratch } = await createScratch(device, config, shape, chunk);
  const { logits } = headScratch;
  const usage = USAGE.COPY_DST | USAGE.MAP_READ;
  const staging = await device.createBuffer("logits (read back)", logits.buffer.size, usage);
  const choices = await Choices.create(device, shape.kvType, logits.rows);
  const top = await TopLists.create(device);
  const blocks: ParamBlock[] = [];
  for (const _ of caches) blocks.push(await ParamBlock.create(device, "params of the layers"));
  const params = { layers: blocks, head: await ParamBlock.create(device, "params of the head") };

  const plan = (tokens: Target["tokens"]): Plan => {
    const targets = blocks.map((block) => targetOf({ adapter, library, params: block }, tokens));
    // A single token is computed where the head looks for it.
    const { x, attended } = tokens === "one" ? headScratch : scratch;
    const own = { ...scratch, x, attended, choices: choices.buffer };
    const last = targetOf({ adapter, library, params: params.head }, tokens);
    return {
      targets,
      layers: layers(targets, config, weights, caches, own),
      head: config.isEncoder ? [] : head(last, config, weights, headScratch),
    };
  };
  const [single, few, several] = [plan("one"), plan("few"), plan("several")];
  const hidden = new Map<string, HiddenPlan>();
  const states = { ...scratch, choices: choices.buffer };
  const last = targetOf({ adapter, library, params: params.head }, "one");
  const choice = { logits, draws: choices.draws, choices: choices.buffer };
  const choose = config.isEncoder ? [] : chooseTokens(last, choice);
  const list = { logits, wanted: top.wanted, top: top.buffer };
  const findTop = config.isEncoder ? [] : listTop(last, list);
  const plans = {
    scratch,
    headScratch,
    params,
    plan: (tokens: number) => (tokens === 1 ? single : tokens <= FEW ? few : several),
    single,
    several,
    hidden: (depth: number, tokens: number) => {
      const { targets } = tokens <= FEW ? few : several;
      const key = `${targets[0]!.tokens} ${depth}`;
      const found =
        hidden.get(key) ?? hiddenStates(targets, config, weights, caches, states, depth);
      hidden.set(key, found);
      return found;
    },
    choose,
    findTop,
    choices,
    top,
    staging,
    dispatches: [
      ...[single, few, several].flatMap(({ layers, head }) => [...layers, ...head]),
      ...choose,
      ...findTop,
    ],
  };
  checkPlans(device, plans, caches[0]!.largestStep);
  return plans;
}

/** Throws a `CapacityError` if an adapter takes no grid as large as a step's. */
function checkPlans(
  device: Device,
  { single, several, headScratch: { logits } }: Plans,
  largest: StepValues,
): void {
  checkGrids(device, [...single.layers, ...single.head], { tokens: 1 });
  checkGrids(device, several.layers, largest);
  checkGrids(device, several.head, { tokens: logits.rows });
}

/** Bytes of everything that `createPlans` allocates. */
export function planBytes(
  config: ModelConfig,
  { shape, groups }: CacheSetting,
  chunk: number,
): number {
  const { all, logits } = scratchBytes(config, shape, chunk);
  const staging = logits.bytes;
  const params = (groups.length + 1) * PARAM_BLOCK_BYTES;
  return all + staging + params + choicesBytes(logits.rows) + LISTS_BYTES;
}
