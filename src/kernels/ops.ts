// One function a kernel: it picks the page, the overrides and the grid, binds by name, and returns prepared dispatches.

import type { Device } from "./device.ts";
import type { HeadShape, LayerPages } from "./head-shape.ts";
import { type Kernel, KernelError, type KernelLibrary } from "./kernel.ts";
import { attentionLanes, lanesOf, matvecRows, reduction } from "./lanes.ts";
import type { ParamBlock, StepValues } from "./params.ts";
import type { Dispatch, Grid } from "./recorder.ts";
import { type Activations, UNIFORM_BYTES, type WeightPart, type Weights } from "./tensor.ts";

const MATMUL_TILE = 32; // TILE in matmul.wgsl, rows and tokens
const ROWS_PER_ATTENTION = 4; // ROWS in attention.wgsl
const NOTHING: Grid = [0, 0, 0];

/**
 * Prepares the dispatches of one plan. A plan for a single token multiplies with `matvec`, any other with `matmul`;
 * the grids of the latter follow `step.tokens`.
 */
export class Ops {
  readonly #library: KernelLibrary;
  readonly #device: Device;
  readonly #params: ParamBlock;
  readonly #single: boolean;
  readonly #lanes: number;

  constructor(library: KernelLibrary, params: ParamBlock, single: boolean) {
    this.#library = library;
    this.#device = library.device;
    this.#params = params;
    this.#single = single;
    this.#lanes = lanesOf(library.device);
  }

  /** x [T, D] = rows `tokens` [T] of the table [V, D]. */
  embed(tokens: GPUBuffer, table: Weights, x: Activations): Dispatch[] {
    const lanes = this.#lanes;
    return table.parts.map((part) => {
      const overrides = { LANES: lanes };
      const kernel = this.#library.kernel({ page: "embed", fragments: decoder(table), overrides });
      const columns = Math.ceil(x.stride / 32 / lanes);
      return this.#dispatch(
        table.label,
        kernel,
        { tokens: whole(tokens), x: numbers(x), ...part.bindings },
        (step) => [columns, step.tokens!, 1],
      );
    });
  }

  /** y [T, D] = RMSNorm(x [T, D]) weight, over rows of `weight`'s width: whole tokens, or `parts` heads a token. */
  rmsNorm(x: Activations, weight: Weights, y: Activations, eps: number): Dispatch[] {
    const parts = x.width / weight.k;
    const overrides = { D: weight.k, PARTS: parts, STRIDE: x.stride, EPS: eps, LANES: this.#lanes };
    const kernel = this.#library.kernel({
      page: "rms-norm",
      fragments: [reduction(this.#device, this.#lanes)],
      overrides,
    });
    const bindings = { x: numbers(x), weight: vector(weight), y: numbers(y) };
    return [this.#dispatch(weight.label, kernel, bindings, (step) => [parts, step.tokens!, 1])];
  }

  /** y [T, n] = x [T, k] W^T, or y += x W^T where `add` is set; then + bias. */
  project(
    x: Activations,
    weights: Weights,
    y: Activations,
    { add = false, bias }: { add?: boolean; bias?: Weights | undefined } = {},
  ): Dispatch[] {
    if (x.width !== weights.k || y.width !== weights.n) {
      throw new KernelError(
        `${weights.label}: [${weights.n}, ${weights.k}] does not take ${x.width} numbers to ${y.width}`,
      );
    }
    const dispatches = weights.parts.map((part) => this.#multiply(x, weights, part, y, add));
    return bias ? [...dispatches, ...this.#addBias(bias, y)] : dispatches;
  }

  #multiply(
    x: Activations,
    weights: Weights,
    part: WeightPart,
    y: Activations,
    add: boolean,
  ): Dispatch {
    const BETA = add ? 1 : 0;
    const bindings = { x: numbers(x), y: numbers(y), ...part.bindings };
    if (this.#single) {
      const ROWS = matvecRows(this.#device);
      const overrides = { BETA, ROWS, LANES: this.#lanes };
      const inUniform = this.#device.info.isFallbackAdapter && x.stride * 4 <= UNIFORM_BYTES;
      if (inUniform) bindings.x = { buffer: x.buffer, size: UNIFORM_BYTES };
      const input = inUniform ? "inputs/uniform" : "inputs/storage";
      const fragments = [...decoder(weights), input, reduction(this.#device, this.#lanes)];
      const kernel = this.#library.kernel({ page: "matvec", fragments, overrides });
      const grid = this.#line(Math.ceil(part.rows / ROWS));
      return this.#dispatch(weights.label, kernel, bindings, () => grid);
    }
    const fragments = decoder(weights);
    const kernel = this.#library.kernel({ page: "matmul", fragments, overrides: { BETA } });
    const columns = Math.ceil(part.rows / MATMUL_TILE);
    return this.#dispatch(weights.label, kernel, bindings, (step) => [
      columns,
      Math.ceil(step.tokens! / MATMUL_TILE),
      1,
    ]);
  }

  #addBias(bias: Weights, y: Activations): Dispatch[] {
    const overrides = { N: bias.k, STRIDE: y.stride, LANES: this.#lanes };
    const kernel = this.#library.kernel({ page: "add-bias", overrides });
    const columns = Math.ceil(bias.k / 4 / this.#lanes);
    const bindings = { bias: vector(bias), y: numbers(y) };
    return [this.#dispatch(bias.label, kernel, bindings, (step) => [columns, step.tokens!, 1])];
  }

  /** gate [T, F] = silu(gate) up. */
  swiglu(label: string, gate: Activations, up: Activations): Dispatch[] {
    const overrides = { F: gate.width, STRIDE: gate.stride, LANES: this.#lanes };
    const kernel = this.#library.kernel({ page: "swiglu", overrides });
    const columns = Math.ceil(gate.width / 4 / this.#lanes);
    const bindings = { up: numbers(up), gate: numbers(gate) };
    return [this.#dispatch(label, kernel, bindings, (step) => [columns, step.tokens!, 1])];
  }

  /** rotated [T, 2, H, E] = q [T, H, E], scaled, turned to its place before the window and before the sinks. */
  ropeQuery(
    label: string,
    shape: HeadShape,
    q: Activations,
    turns: GPUBuffer,
    rotated: GPUBuffer,
  ): Dispatch[] {
    const { heads: H, headWidth: E, pairGap: GAP, scale: SCALE } = shape;
    const overrides = { H, E, GAP, SCALE, STRIDE: q.stride, LANES: this.#lanes };
    const kernel = this.#library.kernel({ page: "rope-query", fragments: ["rotate"], overrides });
    const columns = Math.ceil((H * E) / this.#lanes);
    const bindings = { q: numbers(q), turns: whole(turns), rotated: whole(rotated) };
    return [this.#dispatch(label, kernel, bindings, (step) => [columns, step.tokens!, 1])];
  }

  /** Writes k, rotated, and v, [T, G, E] each, to slots [T] of a layer's pages. */
  kvStore(
    label: string,
    shape: HeadShape,
    k: Activations,
    v: Activations,
    turns: GPUBuffer,
    slots: GPUBuffer,
    pages: LayerPages,
  ): Dispatch[] {
    const { kvHeads: G, headWidth: E, pageSize: P, pairGap: GAP } = shape;
    const overrides = { G, E, P, GAP, STRIDE: k.stride, LANES: this.#lanes };
    const fragments = ["rotate", `cells/${shape.cells}`];
    const kernel = this.#library.kernel({ page: "kv-store", fragments, overrides });
    const columns = Math.ceil((G * E) / 4 / this.#lanes);
    const bindings = {
      k: numbers(k),
      v: numbers(v),
      turns: whole(turns),
      slots: whole(slots),
      k_pages: whole(pages.keys),
      v_pages: whole(pages.values),
    };
    return [this.#dispatch(label, kernel, bindings, (step) => [columns, step.tokens!, 1])];
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
    const attention = this.#library.kernel({
      page: "attention",
      fragments: [...keyReader(shape, keyTurns), reduction(this.#device, LANES)],
      overrides: { H, G, E, P, STRIDE: x.stride, LANES, ...turning(shape, keyTurns) },
    });
    const merge = this.#library.kernel({
      page: "attention-merge",
      overrides: { H, E, STRIDE: x.stride, LANES: this.#lanes },
    });
    const outputs = whole(partial.outputs);
    const states = whole(partial.states);
    const columns = Math.ceil((H * E) / 4 / this.#lanes);
    return [
      this.#dispatch(
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
        (step) => [Math.ceil((step.tokens! * H) / G / ROWS_PER_ATTENTION), G, step.splits!],
      ),
      this.#dispatch(label, merge, { outputs, states, x: numbers(x) }, (step) =>
        step.splits === 1 ? NOTHING : [columns, step.tokens!, 1],
      ),
    ];
  }

  /** weights [T, H, slots] = softmax(queries keys^T, where visible): what `attend` multiplies the values with. */
  attentionWeights(
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
    return [this.#dispatch(label, kernel, bindings, (step) => [H, step.tokens!, 1])];
  }

  #dispatch(
    label: string,
    kernel: Kernel,
    resources: Readonly<Record<string, GPUBufferBinding>>,
    grid: (step: StepValues) => Grid,
  ): Dispatch {
    const params = kernel.params.length > 0 ? { params: this.#params.slot(kernel) } : {};
    return {
      kernel,
      label,
      grid,
      bindings: kernel.bind(this.#device, { ...resources, ...params }),
    };
  }

  /** A line of workgroups, folded where one dimension cannot hold it. */
  #line(count: number): Grid {
    const most = this.#device.limits.maxComputeWorkgroupsPerDimension;
    const rows = Math.ceil(count / most);
    return [Math.ceil(count / rows), rows, 1];
  }
}

/** How cached keys are read: as they were rotated when stored, or turned on the way. */
function keyReader({ cells }: HeadShape, keyTurns: GPUBuffer | undefined): string[] {
  return [`cells/${cells}`, ...(keyTurns ? ["keys/raw", "rotate"] : ["keys/rotated"])];
}

/** The override that turning keys needs. */
function turning({ pairGap: GAP }: HeadShape, keyTurns: GPUBuffer | undefined) {
  return keyTurns ? { GAP } : {};
}

function decoder(weights: Weights): string[] {
  return [weights.format.fragment, "formats/unpack"];
}

/** The binding of activations, without what their buffer has beyond them. */
function numbers({ buffer, rows, stride }: Activations): GPUBufferBinding {
  return { buffer, size: rows * stride * 4 };
}

function whole(buffer: GPUBuffer): GPUBufferBinding {
  return { buffer };
}

/** The binding of an F32 vector, such as the weight of a norm. */
function vector(weights: Weights): GPUBufferBinding {
  const values = weights.parts[0]?.bindings.values;
  if (!values || weights.format.name !== "F32" || weights.parts.length > 1) {
    throw new KernelError(`${weights.label}: not an F32 vector in one part`);
  }
  return values;
}
