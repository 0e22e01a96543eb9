// Operations of attention: rotate queries and keys, store keys and values in pages, attend over
// pages. Not in this room: which pages a text has, and the rotations themselves (context/).

import type { Adapter } from "../adapter/adapter.ts";
import type { Target } from "../adapter/target.ts";
import {
  attentionLanes,
  attentionRows,
  attentionTokens,
  longAttention,
  reduction,
  rowGroups,
} from "../adapter/tiling.ts";
import type { Activations } from "../gpu/activations.ts";
import type { Dispatch } from "../gpu/commands.ts";
import { activationBinding, bufferBinding, type Recipe } from "../gpu/dispatcher.ts";
import { vectorBinding, type Weights } from "../weights/tensor.ts";
import type { HeadShape, LayerPages } from "./head-shape.ts";
import { KV_FORMATS } from "./kv-types.ts";

const CELL_NUMBERS = 4;

/** The tokens of a step, as they come from their projections. */
export interface NewTokens {
  readonly qk: Activations; // [T, H + G, E] in rows of qkv, or qkv itself
  readonly qkv: Activations; // [T, H + 2 G, E]
  readonly rotations: GPUBuffer; // [3, T, E/2, 2] of queries before the window and before the sinks, and of keys
  readonly slots: GPUBuffer; // [T]
  readonly rotated: GPUBuffer; // [T, 2, H, E] queries, if `rope-store` rotates them
  /** Weights of norms after the rotation, of queries and of keys: [2, E]. */
  readonly queryNorms?: Weights | undefined;
}

/** The work of a step: the lists of work.ts. */
export interface WorkBuffers {
  readonly short: GPUBuffer;
  readonly long: GPUBuffer;
  readonly merges: GPUBuffer;
}

/** The pages that queries attend to, and the buffers for the result. */
export interface AttentionBuffers {
  readonly pages: LayerPages;
  readonly pageTable: GPUBuffer;
  /** Rotations of keys that are stored raw: [N P, E/2, 2]. */
  readonly keyRotations?: GPUBuffer | undefined;
  readonly work: WorkBuffers;
  /** Partial results of ranges of keys, for `attention-merge`: [rows, H, E + 4]. */
  readonly partial: GPUBuffer;
  readonly x: Activations; // [T, H, E]
}

/**
 * Whether the workgroup that attends may also store a single token: see
 * `attention/queries/projected`.
 */
export function canFuseStore({ kvType, heads, kvHeads }: HeadShape): boolean {
  return (
    KV_FORMATS[kvType].blockNumbers === CELL_NUMBERS &&
    heads / kvHeads === attentionRows(heads / kvHeads, 1)
  );
}

export interface StoreAndAttend {
  readonly label: string;
  readonly shape: HeadShape;
  readonly tokens: NewTokens;
  readonly buffers: AttentionBuffers;
}

/**
 * x [T, H, E] = attention of the tokens of qkv, whose keys and values are stored in a layer's pages
 * first. The kernel that attends stores a single token itself if `canFuseStore`.
 */
export function storeAndAttend(target: Target, operation: StoreAndAttend): Dispatch[] {
  const { label, shape, tokens, buffers } = operation;
  const { qk, qkv, rotations, rotated } = tokens;
  const atOnce = target.tokens === "one" && qk === qkv && !buffers.keyRotations;
  if (atOnce && canFuseStore(shape)) {
    const rotation = rotationOf(shape);
    const queries: Queries = {
      fragments: ["attention/queries/projected", "attention/step-rotations", ...rotation.fragments],
      overrides: { ...rotation.overrides, SCALE: shape.scale },
      bindings: { qk: activationBinding(qkv), rotations: bufferBinding(rotations) },
    };
    return attendBy(target, { label, shape, queries, buffers });
  }
  const { pages } = buffers;
  return [
    ...ropeStore(target, { label: `${label} rope`, shape, tokens, pages }),
    ...attend(target, { label, shape, queries: rotated, buffers }),
  ];
}

export interface RopeStore {
  readonly label: string;
  readonly shape: HeadShape;
  readonly tokens: NewTokens;
  readonly pages: LayerPages;
}

/**
 * rotated [T, 2, H, E] = the queries of qk [T, H + G, E], scaled and rotated once for the window
 * and once for the sinks. Stores the rotated keys, and the values of qkv [T, H + 2 G, E], in
 * `slots` [T] of a layer's pages.
 */
export function ropeStore(target: Target, operation: RopeStore): Dispatch[] {
  const { label, shape, tokens: arriving, pages } = operation;
  const { qk, qkv, rotations, slots, rotated, queryNorms } = arriving;
  const { heads: H, kvHeads: G, headWidth: E, pageSize: P, scale: SCALE } = shape;
  const { adapter } = target;
  const { lanes } = adapter;
  const { fragment, blockNumbers } = KV_FORMATS[shape.kvType];
  const rotation = rotationOf(shape);
  const count = (H * E) / CELL_NUMBERS + (G * E) / blockNumbers;
  return [
    target.dispatcher.dispatch({
      label,
      shader: "attention/rope-store",
      fragments: [
        "attention/step-rotations",
        ...rotation.fragments,
        queryNorms ? "attention/query-norms/after-rotation" : "attention/query-norms/none",
        fragment,
      ],
      overrides: { H, G, E, P, SCALE, STRIDE: qkv.stride, LANES: lanes, ...rotation.overrides },
      bindings: {
        qk: activationBinding(qk),
        qkv: activationBinding(qkv),
        rotations: bufferBinding(rotations),
        slots: bufferBinding(slots),
        queries: bufferBinding(rotated),
        k_pages: bufferBinding(pages.keys),
        v_pages: bufferBinding(pages.values),
        ...(queryNorms ? { norms: vectorBinding(queryNorms) } : {}),
      },
      grid: ({ tokens }) => [rowGroups(adapter, { count, lanes, tokens: tokens }), tokens, 1],
    }),
  ];
}

export interface Attend {
  readonly label: string;
  readonly shape: HeadShape;
  /** [T, 2, H, E], as written by `ropeStore`. */
  readonly queries: GPUBuffer;
  readonly buffers: AttentionBuffers;
}

/** x [T, H, E] = softmax(queries keys^T over visible keys) values, over the pages of each text. */
export function attend(target: Target, { label, shape, queries, buffers }: Attend): Dispatch[] {
  const stored: Queries = {
    fragments: ["attention/queries/rotated"],
    overrides: {},
    bindings: { queries: bufferBinding(queries) },
  };
  return attendBy(target, { label, shape, queries: stored, buffers });
}

/** How `attention.wgsl` reads queries: a fragment, and what this needs. */
interface Queries {
  readonly fragments: readonly string[];
  readonly overrides: Readonly<Record<string, number>>;
  readonly bindings: Readonly<Record<string, GPUBufferBinding>>;
}

type AttendBy = Omit<Attend, "queries"> & { readonly queries: Queries };

function attendBy(target: Target, operation: AttendBy): Dispatch[] {
  const { adapter, dispatcher, tokens } = target;
  const share = operation.shape.heads / operation.shape.kvHeads;
  const most = tokens === "one" ? 1 : attentionTokens(share);
  const lists = tokens === "several" ? (["short", "long"] as const) : (["short"] as const);
  return [
    ...lists.map((list) => attentionRecipe(adapter, operation, list, most)),
    mergeRecipe(adapter, operation),
  ].map((recipe) => dispatcher.dispatch(recipe));
}

/** Attention of the items of one list, which have at most `tokens` tokens each. */
function attentionRecipe(
  adapter: Adapter,
  operation: AttendBy,
  list: "short" | "long",
  tokens: number,
): Recipe {
  const { label, shape, queries, buffers } = operation;
  const { pages, pageTable, keyRotations, partial, work, x } = buffers;
  const { heads: H, kvHeads: G, headWidth: E, pageSize: P } = shape;
  const LANES = attentionLanes(adapter, E);
  const share = H / G;
  const tiled = list === "long" && longAttention(adapter, shape).shader === "cpu/attention-cpu";
  const ROWS = attentionRows(share, tokens);
  const keys = keyReader(shape, keyRotations);
  const scores = scoreFunction(shape);
  const sight = sightOf(shape);
  const overrides = { H, G, E, P, STRIDE: x.stride, ...(tiled ? {} : { LANES, ROWS }) };
  return {
    label,
    shader: tiled ? "cpu/attention-cpu" : "attention/attention",
    fragments: [
      ...keys.fragments,
      ...queries.fragments,
      ...scores.fragments,
      ...sight.fragments,
      "attention/work",
      ...(tiled ? [] : [reduction(adapter, LANES)]),
    ],
    overrides: {
      ...overrides,
      ...keys.overrides,
      ...queries.overrides,
      ...scores.overrides,
      ...sight.overrides,
    },
    bindings: {
      ...queries.bindings,
      ...keys.bindings,
      k_pages: bufferBinding(pages.keys),
      v_pages: bufferBinding(pages.values),
      page_table: bufferBinding(pageTable),
      work: bufferBinding(work[list]),
      partial: bufferBinding(partial),
      x: activationBinding(x),
    },
    grid({ short_items = 1, short_tokens = 1, long_items = 1 }) {
      if (tiled) return [long_items, G, 1];
      return list === "short"
        ? [short_items, G, Math.ceil((short_tokens * share) / ROWS)]
        : [long_items, G, (tokens * share) / ROWS];
    },
  };
}

/** Joins the partial results of `attention` if the keys of a token are several ranges. */
function mergeRecipe({ lanes }: Adapter, { label, shape, buffers }: AttendBy): Recipe {
  const { heads: H, headWidth: E } = shape;
  const { partial, work, x } = buffers;
  const columns = Math.ceil((H * E) / 4 / lanes);
  return {
    label,
    shader: "attention/attention-merge",
    overrides: { H, E, STRIDE: x.stride, LANES: lanes },
    bindings: {
      partial: bufferBinding(partial),
      merges: bufferBinding(work.merges),
      x: activationBinding(x),
    },
    grid: ({ merges = 1 }) => [columns, merges, 1],
  };
}

export interface AttentionWeights {
  readonly label: string;
  readonly shape: HeadShape;
  readonly queries: GPUBuffer; // [T, 2, H, E]
  readonly keys: GPUBuffer; // [N, G, P, E]
  readonly pageTable: GPUBuffer;
  readonly keyRotations?: GPUBuffer | undefined;
  /** One item: the tokens of one text, and all slots of its pages. */
  readonly work: GPUBuffer;
  /** The most tokens of it. */
  readonly tokens: number;
  readonly weights: GPUBuffer; // [tokens, H, slots]
}

/**
 * weights [tokens, H, slots] = softmax(queries keys^T over visible keys): the factors of the values
 * in `attend`.
 */
export function attentionWeights(target: Target, operation: AttentionWeights): Dispatch[] {
  const { label, shape, queries, keys, pageTable, keyRotations, work, tokens, weights } = operation;
  const { heads: H, kvHeads: G, headWidth: E, pageSize: P } = shape;
  const { lanes } = target.adapter;
  const reader = keyReader(shape, keyRotations);
  const scores = scoreFunction(shape);
  const sight = sightOf(shape);
  return [
    target.dispatcher.dispatch({
      label,
      shader: "attention/attention-weights",
      fragments: [
        ...reader.fragments,
        ...scores.fragments,
        ...sight.fragments,
        "attention/work",
        reduction(target.adapter, lanes),
      ],
      overrides: {
        ...{ H, G, E, P, LANES: lanes },
        ...reader.overrides,
        ...scores.overrides,
        ...sight.overrides,
      },
      bindings: {
        queries: bufferBinding(queries),
        k_pages: bufferBinding(keys),
        page_table: bufferBinding(pageTable),
        work: bufferBinding(work),
        weights: bufferBinding(weights),
        ...reader.bindings,
      },
      grid: () => [H, tokens, 1],
    }),
  ];
}

/** What becomes of the products of queries and keys. */
function scoreFunction({ scoreCap: CAP }: HeadShape) {
  if (CAP === undefined) return { fragments: ["attention/scores/plain"], overrides: {} };
  return { fragments: ["attention/scores/capped", "rows/softcap"], overrides: { CAP } };
}

/** Which keys a query sees: those up to itself, or some or all after it, too. */
function sightOf({ ahead = 0 }: HeadShape): {
  readonly fragments: readonly string[];
  readonly overrides: Readonly<Record<string, number>>;
} {
  if (ahead === 0) return { fragments: ["attention/sight/causal"], overrides: {} };
  const AHEAD = Math.min(ahead, 0xffffffff);
  return { fragments: ["attention/sight/both-ways"], overrides: { AHEAD } };
}

/** How cached keys are read: as stored, or rotated on the way if they are stored raw. */
function keyReader(shape: HeadShape, keyRotations: GPUBuffer | undefined) {
  const { fragment } = KV_FORMATS[shape.kvType];
  if (!keyRotations) {
    return { fragments: [fragment, "attention/keys/rotated"], overrides: {}, bindings: {} };
  }
  const { fragments, overrides } = rotationOf(shape);
  return {
    fragments: [fragment, "attention/keys/raw", ...fragments],
    overrides,
    bindings: { key_rotations: bufferBinding(keyRotations) },
  };
}

/** How the numbers of a head rotate in pairs. */
function rotationOf({ pairGap: GAP }: HeadShape): {
  readonly fragments: readonly string[];
  readonly overrides: Readonly<Record<string, number>>;
} {
  if (GAP === 1) return { fragments: ["attention/rotations/neighbours"], overrides: {} };
  const kind = GAP % CELL_NUMBERS === 0 ? "halves" : "any-halves";
  return { fragments: [`attention/rotations/${kind}`], overrides: { GAP } };
}
