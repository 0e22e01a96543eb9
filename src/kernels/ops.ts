// One function a kernel: it picks the page, the overrides and the grid, binds by name, and returns prepared dispatches.

import { lanesOf, matmulTiling, matvecTiling, reduction, rowGroups } from "./adapter/tiling.ts";
import { AttentionOps } from "./attention/attention-ops.ts";
import type { Dispatch, Grid } from "./gpu/commands.ts";
import type { Device } from "./gpu/device.ts";
import { Dispatcher, numbers, whole } from "./gpu/dispatcher.ts";
import { KernelError, type KernelLibrary } from "./gpu/kernel.ts";
import type { ParamBlock } from "./gpu/params.ts";
import type { ActivationFunction } from "./reference.ts";
import { decoderOf } from "./weights/formats/format.ts";
import {
  type Activations,
  UNIFORM_BYTES,
  type WeightPart,
  type Weights,
} from "./weights/tensor.ts";

const ONE_GROUP: Grid = [1, 1, 1];

/** RMSNorm of what is multiplied. */
export interface InputNorm {
  readonly weight: Weights; // [k]
  readonly eps: number;
  /** [T, k]: where several tokens are normed to. */
  readonly into: Activations;
}

export interface ProjectOptions {
  readonly norm?: InputNorm | undefined;
  /** Adds to y in place of replacing it. */
  readonly add?: boolean;
  readonly bias?: Weights | undefined;
}

/**
 * Prepares the dispatches of one plan. A plan for a single token multiplies with `matvec`, any other with `matmul`;
 * the grids of the latter follow `step.tokens`.
 */
export class Ops {
  readonly attention: AttentionOps;
  readonly #library: KernelLibrary;
  readonly #device: Device;
  readonly #dispatcher: Dispatcher;
  readonly #single: boolean;
  readonly #lanes: number;

  constructor(library: KernelLibrary, params: ParamBlock, single: boolean) {
    this.#library = library;
    this.#device = library.device;
    this.#dispatcher = new Dispatcher(library.device, params);
    this.attention = new AttentionOps(library, this.#dispatcher, single);
    this.#single = single;
    this.#lanes = lanesOf(library.device);
  }

  /** x [T, D] = rows `tokens` [T] of the table [V, D]. */
  embed(tokens: GPUBuffer, table: Weights, x: Activations): Dispatch[] {
    const lanes = this.#lanes;
    return table.parts.map((part) => {
      const overrides = { LANES: lanes };
      const kernel = this.#library.kernel({
        page: "rows/embed",
        fragments: decoderOf(part.format, part.placement),
        overrides,
      });
      const columns = Math.ceil(x.stride / 32 / lanes);
      return this.#dispatcher.dispatch(
        table.label,
        kernel,
        { tokens: whole(tokens), x: numbers(x), ...part.bindings },
        (step) => [columns, step.tokens!, 1],
      );
    });
  }

  /**
   * y [T, D] = RMSNorm(x [T, D]) weight, over rows of `weight`'s width: whole tokens, or `parts` heads a token, behind the
   * first `first` numbers of a token.
   */
  rmsNorm(
    x: Activations,
    weight: Weights,
    y: Activations,
    eps: number,
    { first = 0, parts = x.width / weight.k }: { first?: number; parts?: number } = {},
  ): Dispatch[] {
    const overrides = { D: weight.k, FIRST: first, STRIDE: x.stride, EPS: eps, LANES: this.#lanes };
    const kernel = this.#library.kernel({
      page: "rows/rms-norm",
      fragments: [reduction(this.#device, this.#lanes)],
      overrides,
    });
    const bindings = { x: numbers(x), weight: vector(weight), y: numbers(y) };
    return [
      this.#dispatcher.dispatch(weight.label, kernel, bindings, (step) => [parts, step.tokens!, 1]),
    ];
  }

  /**
   * y [T, n] = x [T, k] W^T, or y += x W^T where `add` is set; then + bias. With `norm`, x is normed first: on the way for a
   * single token, otherwise into the activations that it names.
   */
  project(
    x: Activations,
    weights: Weights,
    y: Activations,
    options: ProjectOptions = {},
  ): Dispatch[] {
    if (x.width !== weights.k || y.width !== weights.n) {
      throw new KernelError(
        `${weights.label}: [${weights.n}, ${weights.k}] does not take ${x.width} numbers to ${y.width}`,
      );
    }
    const { norm, bias, add = false } = options;
    const products = weights.parts.map((part) => {
      if (!this.#single) return this.#matmul(norm?.into ?? x, weights.label, part, y, add);
      const output = ["matrix/outputs/plain"];
      return this.#matvec(weights.label, x, norm, part, output, { y: numbers(y) }, add);
    });
    return [...this.#normed(x, norm), ...products, ...(bias ? this.#addBias(bias, y) : [])];
  }

  /**
   * hidden [T, F] = activation(x G^T) (x U^T), for G above U in one matrix [2 F, k]: at once for a single token,
   * otherwise by way of gateUp [T, 2 F]. Options as for `project`.
   */
  gate(
    label: string,
    x: Activations,
    weights: Weights,
    gateUp: Activations,
    hidden: Activations,
    activation: ActivationFunction,
    { norm, bias }: Omit<ProjectOptions, "add"> = {},
  ): Dispatch[] {
    const [part, ...more] = weights.parts;
    if (!this.#single || !part || more.length > 0 || bias) {
      const both = this.project(x, weights, gateUp, { norm, bias });
      return [...both, ...this.gatedActivation(label, gateUp, hidden, activation)];
    }
    const output = ["matrix/outputs/gated", `rows/${activation}`];
    return [this.#matvec(label, x, norm, part, output, { h: numbers(hidden) }, false)];
  }

  /** The norm of several tokens; that of one is taken on the way. */
  #normed(x: Activations, norm: InputNorm | undefined): Dispatch[] {
    return norm && !this.#single ? this.rmsNorm(x, norm.weight, norm.into, norm.eps) : [];
  }

  /** A packed matrix times one vector, normed or not, and what becomes of the products. */
  #matvec(
    label: string,
    x: Activations,
    norm: InputNorm | undefined,
    part: WeightPart,
    output: readonly string[],
    outputs: Readonly<Record<string, GPUBufferBinding>>,
    add: boolean,
  ): Dispatch {
    const least = output.includes("matrix/outputs/gated") ? 16 : 8;
    const { page, fragments, overrides } = matvecTiling(
      this.#library,
      part.placement,
      part.rows,
      least,
    );
    const inUniform = this.#device.info.isFallbackAdapter && x.stride * 4 <= UNIFORM_BYTES;
    const memory = inUniform ? "uniform" : "storage";
    const inputs = inUniform ? "cpu/inputs" : "matrix/inputs";
    const input = (binding: GPUBufferBinding) =>
      inUniform ? { ...binding, size: UNIFORM_BYTES } : binding;
    const kernel = this.#library.kernel({
      page,
      fragments: [
        ...decoderOf(part.format, part.placement),
        `${inputs}/${memory}`,
        ...(norm ? [`${inputs}/norm-${memory}`, "matrix/inputs/normed"] : ["matrix/inputs/plain"]),
        ...output,
        ...fragments,
      ],
      overrides: { ...overrides, ...(norm ? { EPS: norm.eps } : {}) },
    });
    const bindings = {
      x: input(numbers(x)),
      ...(norm ? { norm: input(vector(norm.weight)) } : {}),
      ...outputs,
      ...weightBindings(part, add),
    };
    const grid = this.#line(Math.ceil(part.rows / overrides.ROWS));
    return this.#dispatcher.dispatch(label, kernel, bindings, () => grid);
  }

  #matmul(x: Activations, label: string, part: WeightPart, y: Activations, add: boolean): Dispatch {
    const { page, fragments, overrides, grid } = matmulTiling(this.#library);
    const decoder = decoderOf(part.format, part.placement);
    const all = [...decoder, ...fragments];
    const spec = { page, fragments: all, ...(overrides ? { overrides } : {}) };
    const kernel = this.#library.kernel(spec);
    const bindings = { x: numbers(x), y: numbers(y), ...weightBindings(part, add) };
    return this.#dispatcher.dispatch(label, kernel, bindings, (step) => [
      ...grid(part.rows, step.tokens!),
      1,
    ]);
  }

  #addBias(bias: Weights, y: Activations): Dispatch[] {
    const overrides = { N: bias.k, STRIDE: y.stride, LANES: this.#lanes };
    const kernel = this.#library.kernel({ page: "rows/add-bias", overrides });
    const columns = Math.ceil(bias.k / 4 / this.#lanes);
    const bindings = { bias: vector(bias), y: numbers(y) };
    return [
      this.#dispatcher.dispatch(bias.label, kernel, bindings, (step) => [columns, step.tokens!, 1]),
    ];
  }

  /** hidden [T, F] = activation(gate) up, for gateUp [T, 2, F]. */
  gatedActivation(
    label: string,
    gateUp: Activations,
    hidden: Activations,
    activation: ActivationFunction,
  ): Dispatch[] {
    const overrides = { F: hidden.width, STRIDE: gateUp.stride, LANES: this.#lanes };
    const fragments = [`rows/${activation}`];
    const kernel = this.#library.kernel({ page: "rows/gated-activation", fragments, overrides });
    const bindings = { gate_up: numbers(gateUp), hidden: numbers(hidden) };
    return [
      this.#dispatcher.dispatch(label, kernel, bindings, ({ tokens }) => [
        rowGroups(this.#device, hidden.width / 4, this.#lanes, tokens!),
        tokens!,
        1,
      ]),
    ];
  }

  /**
   * choice [2] = id and log-probability (as bits) of a token chosen by the logits [1, V]: the likeliest, or a draw where
   * `step.temperature` is not 0; the id goes to tokens [1], too.
   */
  choose(logits: Activations, tokens: GPUBuffer, choice: GPUBuffer): Dispatch[] {
    const spec = {
      page: "choice/choose",
      fragments: ["choice/noise"],
      overrides: { V: logits.width },
    };
    const bindings = { logits: numbers(logits), tokens: whole(tokens), choice: whole(choice) };
    const kernel = this.#library.kernel(spec);
    return [this.#dispatcher.dispatch("choose", kernel, bindings, () => ONE_GROUP)];
  }

  /** top [4 + 2 ROOM]: the `step.keep` largest of the logits [1, V] and the sum of all; see the page. */
  top(logits: Activations, top: GPUBuffer): Dispatch[] {
    const kernel = this.#library.kernel({ page: "choice/top", overrides: { V: logits.width } });
    const bindings = { logits: numbers(logits), top: whole(top) };
    return [this.#dispatcher.dispatch("top", kernel, bindings, () => ONE_GROUP)];
  }

  /** A line of workgroups, folded where one dimension cannot hold it. */
  #line(count: number): Grid {
    const most = this.#device.limits.maxComputeWorkgroupsPerDimension;
    const rows = Math.ceil(count / most);
    return [Math.ceil(count / rows), rows, 1];
  }
}

/** The planes of a matrix, and its sizes, which tell whether its product is added. */
function weightBindings({ bindings, adding }: WeightPart, add: boolean) {
  return add ? { ...bindings, matrix: adding } : bindings;
}

/** The binding of an F32 vector, such as the weight of a norm. */
function vector(weights: Weights): GPUBufferBinding {
  const [part, ...more] = weights.parts;
  const values = part?.bindings.quants;
  if (!values || !("buffer" in values) || part.format.name !== "F32" || more.length > 0) {
    throw new KernelError(`${weights.label}: not an F32 vector in one part`);
  }
  return values;
}
