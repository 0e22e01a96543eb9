// The kernels of attention: one function each, as in ops.ts.

import type { Adapter } from "../adapter/adapter.ts";
import { attentionLanes, reduction, rowGroups } from "../adapter/tiling.ts";
import type { Activations } from "../gpu/activations.ts";
import type { Dispatch, Grid } from "../gpu/commands.ts";
import { type Dispatcher, numbers, whole } from "../gpu/dispatcher.ts";
import type { KernelLibrary } from "../gpu/kernel.ts";
import { CELL_FORMATS } from "./cells.ts";
import type { HeadShape, LayerPages } from "./head-shape.ts";

const MOST_ROWS = 4; // of a workgroup of attention.wgsl
const CELL_NUMBERS = 4;
const NOTHING: Grid = [0, 0, 0];

/** The tokens of a step, as they come from their projections. */
export interface NewTokens {
  readonly qk: Activations; // [T, H + G, E] in rows of qkv, or qkv itself
  readonly qkv: Activations; // [T, H + 2 G, E]
  readonly turns: GPUBuffer; // [3, T, E/2, 2] of queries before the window and before the sinks, and of keys
  readonly slots: GPUBuffer; // [T]
  readonly rotated: GPUBuffer; // [T, 2, H, E] queries, where they are turned before the pages are met
}

/** What queries meet, and where what comes of it goes. */
export interface AttentionBuffers {
  readonly pages: LayerPages;
  readonly pageTable: GPUBuffer;
  /** Of keys that were stored without rotation: [N P, E/2, 2]. */
  readonly keyTurns?: GPUBuffer | undefined;
  /** What ranges of slots leave to be joined. */
  readonly partial: { readonly outputs: GPUBuffer; readonly states: GPUBuffer };
  readonly x: Activations; // [T, H, E]
}

/** Where the queries of `attention.wgsl` come from: its fragment, and what that one needs. */
interface Queries {
  readonly fragments: readonly string[];
  readonly overrides: Readonly<Record<string, number>>;
  readonly bindings: Readonly<Record<string, GPUBufferBinding>>;
}

/** Whether the workgroup that attends may store a single token, too: see `attention/queries/fresh`. */
export function isStoredAtOnce({ cells, heads, kvHeads }: HeadShape): boolean {
  return CELL_FORMATS[cells].blockNumbers === CELL_NUMBERS && heads / kvHeads <= MOST_ROWS;
}

export class AttentionOps {
  readonly #library: KernelLibrary;
  readonly #adapter: Adapter;
  readonly #dispatcher: Dispatcher;
  readonly #lanes: number;
  readonly #single: boolean;

  /** `single`: for steps of one token. */
  constructor(library: KernelLibrary, adapter: Adapter, dispatcher: Dispatcher, single: boolean) {
    this.#library = library;
    this.#adapter = adapter;
    this.#dispatcher = dispatcher;
    this.#lanes = adapter.lanes;
    this.#single = single;
  }

  /**
   * x [T, H, E] = what the tokens of qkv attend to; their keys and values go to a layer's pages. At once for a single token
   * where it can be: see `attention/queries/fresh`.
   */
  storeAndAttend(
    label: string,
    shape: HeadShape,
    tokens: NewTokens,
    buffers: AttentionBuffers,
  ): Dispatch[] {
    const { qk, qkv, turns, rotated } = tokens;
    if (this.#single && qk === qkv && isStoredAtOnce(shape) && !buffers.keyTurns) {
      const fresh: Queries = {
        fragments: ["attention/queries/fresh", "attention/turned", "attention/rotate"],
        overrides: { GAP: shape.pairGap, SCALE: shape.scale },
        bindings: { qk: numbers(qkv), turns: whole(turns) },
      };
      return this.#attend(label, shape, fresh, buffers);
    }
    return [
      ...this.ropeStore(`${label} rope`, shape, tokens, buffers.pages),
      ...this.attend(label, shape, rotated, buffers),
    ];
  }

  /**
   * rotated [T, 2, H, E] = the queries of qk [T, H + G, E], scaled, turned to their place before the window and before
   * the sinks; the keys, turned, and the values of qkv [T, H + 2 G, E] go to `slots` [T] of a layer's pages.
   */
  ropeStore(
    label: string,
    shape: HeadShape,
    { qk, qkv, turns, slots, rotated }: NewTokens,
    pages: LayerPages,
  ): Dispatch[] {
    const { heads: H, kvHeads: G, headWidth: E, pageSize: P, pairGap: GAP, scale: SCALE } = shape;
    const overrides = { H, G, E, P, GAP, SCALE, STRIDE: qkv.stride, LANES: this.#lanes };
    const { fragment, blockNumbers } = CELL_FORMATS[shape.cells];
    const fragments = ["attention/turned", "attention/rotate", fragment];
    const kernel = this.#library.kernel({ page: "attention/rope-store", fragments, overrides });
    const items = (H * E) / CELL_NUMBERS + (G * E) / blockNumbers;
    const bindings = {
      qk: numbers(qk),
      qkv: numbers(qkv),
      turns: whole(turns),
      slots: whole(slots),
      rotated: whole(rotated),
      k_pages: whole(pages.keys),
      v_pages: whole(pages.values),
    };
    return [
      this.#dispatcher.dispatch(label, kernel, bindings, ({ tokens }) => [
        rowGroups(this.#adapter, { count: items, lanes: this.#lanes, tokens: tokens! }),
        tokens!,
        1,
      ]),
    ];
  }

  /** x [T, H, E] = softmax(queries keys^T, where visible) values, over the pages of a table. */
  attend(
    label: string,
    shape: HeadShape,
    queries: GPUBuffer,
    buffers: AttentionBuffers,
  ): Dispatch[] {
    const stored: Queries = {
      fragments: ["attention/queries/stored"],
      overrides: {},
      bindings: { queries: whole(queries) },
    };
    return this.#attend(label, shape, stored, buffers);
  }

  #attend(
    label: string,
    shape: HeadShape,
    queries: Queries,
    { pages, pageTable, keyTurns, partial, x }: AttentionBuffers,
  ): Dispatch[] {
    const { heads: H, kvHeads: G, headWidth: E, pageSize: P } = shape;
    const LANES = attentionLanes(this.#adapter, E);
    const ROWS = this.#single ? Math.min(MOST_ROWS, H / G) : MOST_ROWS;
    const keys = keyReader(shape, keyTurns);
    const overrides = { H, G, E, P, STRIDE: x.stride, LANES, ROWS };
    const attention = this.#library.kernel({
      page: "attention/attention",
      fragments: [...keys.fragments, ...queries.fragments, reduction(this.#adapter, LANES)],
      overrides: { ...overrides, ...keys.overrides, ...queries.overrides },
    });
    const merge = this.#library.kernel({
      page: "attention/attention-merge",
      overrides: { H, E, STRIDE: x.stride, LANES: this.#lanes },
    });
    const outputs = whole(partial.outputs);
    const states = whole(partial.states);
    const columns = Math.ceil((H * E) / 4 / this.#lanes);
    return [
      this.#dispatcher.dispatch(
        label,
        attention,
        {
          ...queries.bindings,
          ...keys.bindings,
          k_pages: whole(pages.keys),
          v_pages: whole(pages.values),
          page_table: whole(pageTable),
          outputs,
          states,
          x: numbers(x),
        },
        (step) => [Math.ceil((step.tokens! * H) / G / ROWS), G, step.splits!],
      ),
      this.#dispatcher.dispatch(label, merge, { outputs, states, x: numbers(x) }, (step) =>
        step.splits === 1 ? NOTHING : [columns, step.tokens!, 1],
      ),
    ];
  }

  /** weights [T, H, slots] = softmax(queries keys^T, where visible): what `attend` multiplies the values with. */
  weights(
    label: string,
    shape: HeadShape,
    queries: GPUBuffer,
    keys: GPUBuffer,
    pageTable: GPUBuffer,
    weights: GPUBuffer,
    keyTurns?: GPUBuffer,
  ): Dispatch[] {
    const { heads: H, kvHeads: G, headWidth: E, pageSize: P } = shape;
    const reader = keyReader(shape, keyTurns);
    const kernel = this.#library.kernel({
      page: "attention/attention-weights",
      fragments: [...reader.fragments, reduction(this.#adapter, this.#lanes)],
      overrides: { H, G, E, P, LANES: this.#lanes, ...reader.overrides },
    });
    const bindings = {
      queries: whole(queries),
      k_pages: whole(keys),
      page_table: whole(pageTable),
      weights: whole(weights),
      ...reader.bindings,
    };
    return [this.#dispatcher.dispatch(label, kernel, bindings, (step) => [H, step.tokens!, 1])];
  }
}

/** How cached keys are read: as they were rotated when stored, or turned on the way. */
function keyReader({ cells, pairGap: GAP }: HeadShape, keyTurns: GPUBuffer | undefined) {
  const { fragment } = CELL_FORMATS[cells];
  if (!keyTurns)
    return { fragments: [fragment, "attention/keys/rotated"], overrides: {}, bindings: {} };
  return {
    fragments: [fragment, "attention/keys/raw", "attention/rotate"],
    overrides: { GAP },
    bindings: { key_turns: whole(keyTurns) },
  };
}
