// The kernels of attention: one function each, as in ops.ts.

import { CELL_FORMATS } from "./cells.ts";
import type { Device } from "./device.ts";
import { type Dispatcher, numbers, whole } from "./dispatcher.ts";
import type { HeadShape, LayerPages } from "./head-shape.ts";
import type { KernelLibrary } from "./kernel.ts";
import { attentionLanes, lanesOf, reduction, rowGroups } from "./lanes.ts";
import type { Dispatch, Grid } from "./recorder.ts";
import type { Activations } from "./tensor.ts";

const MOST_ROWS = 4; // of a workgroup of attention.wgsl
const NOTHING: Grid = [0, 0, 0];

export class AttentionOps {
  readonly #library: KernelLibrary;
  readonly #device: Device;
  readonly #dispatcher: Dispatcher;
  readonly #lanes: number;
  readonly #single: boolean;

  /** `single`: for steps of one token. */
  constructor(library: KernelLibrary, dispatcher: Dispatcher, single: boolean) {
    this.#library = library;
    this.#device = library.device;
    this.#dispatcher = dispatcher;
    this.#lanes = lanesOf(library.device);
    this.#single = single;
  }

  /**
   * rotated [T, 2, H, E] = the queries of qk [T, H + G, E], scaled, turned to their place before the window and before
   * the sinks; the keys, turned, and the values of qkv [T, H + 2 G, E] go to `slots` [T] of a layer's pages.
   */
  ropeStore(
    label: string,
    shape: HeadShape,
    qk: Activations,
    qkv: Activations,
    turns: GPUBuffer,
    slots: GPUBuffer,
    rotated: GPUBuffer,
    pages: LayerPages,
  ): Dispatch[] {
    const { heads: H, kvHeads: G, headWidth: E, pageSize: P, pairGap: GAP, scale: SCALE } = shape;
    const overrides = { H, G, E, P, GAP, SCALE, STRIDE: qkv.stride, LANES: this.#lanes };
    const { fragment, blockNumbers } = CELL_FORMATS[shape.cells];
    const fragments = ["rotate", fragment];
    const kernel = this.#library.kernel({ page: "rope-store", fragments, overrides });
    const items = (H * E) / 4 + (G * E) / blockNumbers;
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
        rowGroups(this.#device, items, this.#lanes, tokens!),
        tokens!,
        1,
      ]),
    ];
  }

  /**
   * x [T, H, E] = softmax(queries keys^T, where visible) values, over the pages of `pageTable`. Keys that were stored
   * without rotation turn by `keyTurns` [N P, E/2, 2].
   */
  attend(
    label: string,
    shape: HeadShape,
    queries: GPUBuffer,
    pages: LayerPages,
    pageTable: GPUBuffer,
    partial: { readonly outputs: GPUBuffer; readonly states: GPUBuffer },
    x: Activations,
    keyTurns?: GPUBuffer,
  ): Dispatch[] {
    const { heads: H, kvHeads: G, headWidth: E, pageSize: P } = shape;
    const LANES = attentionLanes(this.#device, E);
    const ROWS = this.#single ? Math.min(MOST_ROWS, H / G) : MOST_ROWS;
    const attention = this.#library.kernel({
      page: "attention",
      fragments: [...keyReader(shape, keyTurns), reduction(this.#device, LANES)],
      overrides: { H, G, E, P, STRIDE: x.stride, LANES, ROWS, ...turning(shape, keyTurns) },
    });
    const merge = this.#library.kernel({
      page: "attention-merge",
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
          queries: whole(queries),
          k_pages: whole(pages.keys),
          v_pages: whole(pages.values),
          page_table: whole(pageTable),
          outputs,
          states,
          x: numbers(x),
          ...(keyTurns ? { key_turns: whole(keyTurns) } : {}),
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
    const overrides = { H, G, E, P, LANES: this.#lanes, ...turning(shape, keyTurns) };
    const fragments = [...keyReader(shape, keyTurns), reduction(this.#device, this.#lanes)];
    const kernel = this.#library.kernel({ page: "attention-weights", fragments, overrides });
    const bindings = {
      queries: whole(queries),
      k_pages: whole(keys),
      page_table: whole(pageTable),
      weights: whole(weights),
      ...(keyTurns ? { key_turns: whole(keyTurns) } : {}),
    };
    return [this.#dispatcher.dispatch(label, kernel, bindings, (step) => [H, step.tokens!, 1])];
  }
}

/** How cached keys are read: as they were rotated when stored, or turned on the way. */
function keyReader({ cells }: HeadShape, keyTurns: GPUBuffer | undefined): string[] {
  return [CELL_FORMATS[cells].fragment, ...(keyTurns ? ["keys/raw", "rotate"] : ["keys/rotated"])];
}

/** The override that turning keys needs. */
function turning({ pairGap: GAP }: HeadShape, keyTurns: GPUBuffer | undefined) {
  return keyTurns ? { GAP } : {};
}
