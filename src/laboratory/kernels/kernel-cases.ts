// Every kernel of the engine, with every format that it takes: checked against reference.ts and
// timed alone, without a model. Not in this room: whole models, which experiments measure.

import { UserError } from "../../errors.ts";
import { KV_TYPES, type KvType } from "../../kernels/attention/kv-types.ts";
import type { WeightFormat } from "../../kernels/weights/formats/format.ts";
import { FORMATS } from "../../kernels/weights/formats/index.ts";
import { hint } from "../../option-reader.ts";
import { attentionCase, attentionWeightsCase, ropeStoreCase } from "./attention-cases.ts";
import type { KernelCase, Sizes } from "./kernel-case.ts";
import { embedCase, matmulCase, matvecCase, matvecSwigluCase } from "./matrix-cases.ts";
import {
  biasCase,
  capCase,
  chooseCase,
  gateCase,
  layerNormCase,
  normCase,
  sumCase,
  topCase,
} from "./row-cases.ts";

/** Selects cases; a field that is not set selects all. */
export interface Selection {
  readonly kernel?: string | undefined;
  /** A weight format or the kv type of a cache, in any case. */
  readonly format?: string | undefined;
  readonly shape?: { readonly n: number; readonly k: number } | undefined;
  readonly tokens: number;
}

const MATRICES: Record<string, (format: WeightFormat, sizes: Sizes) => KernelCase> = {
  matvec: (format, sizes) => matvecCase(format, sizes, false),
  "matvec-normed": (format, sizes) => matvecCase(format, sizes, true),
  "matvec-swiglu": matvecSwigluCase,
  matmul: matmulCase,
  embed: embedCase,
};

const ROWS: Record<string, (sizes: Sizes, shaped: boolean) => KernelCase[]> = {
  "rms-norm": (sizes) => oneAndSeveral(sizes).map(normCase),
  swiglu: (sizes) => oneAndSeveral(sizes).map(gateCase),
  "add-bias": (sizes) => oneAndSeveral(sizes).map(biasCase),
  "layer-norm": (sizes) => oneAndSeveral(sizes).map(layerNormCase),
  "add-rows": (sizes) => oneAndSeveral(sizes).map(sumCase),
  cap: (sizes) => oneAndSeveral(sizes).map(capCase),
  choose: ({ n }, shaped) => [chooseCase({ n: shaped ? n : VOCABULARY })],
  top: ({ n }, shaped) => [topCase({ n: shaped ? n : VOCABULARY })],
};

const ATTENTION: Record<string, (kvType: KvType, tokens: number) => KernelCase[]> = {
  "rope-store": (kvType, tokens) =>
    [1, tokens].filter(isFirst).map((t) => ropeStoreCase(kvType, t)),
  attention: (kvType, tokens) => [
    ...SLOTS.map((slots) => attentionCase(kvType, slots, 1)),
    ...(tokens > 1 ? [attentionCase(kvType, Math.max(SLOTS[1], tokens), tokens)] : []),
  ],
  "attention-weights": (kvType) => [attentionWeightsCase(kvType, SLOTS[1])],
};

/** A matrix that takes a GPU long enough to be timed, and a software adapter not too long. */
export const GPU_MATRIX = { n: 4096, k: 4096 };
export const SOFTWARE_MATRIX = { n: 2048, k: 2048 };

const VOCABULARY = 32000;
const SLOTS = [128, 1024, 4096] as const;

/** What `--kernel` may name. */
export const KERNELS: readonly string[] = [MATRICES, ROWS, ATTENTION].flatMap(Object.keys);

/**
 * The cases of a selection, with matrices of [n, k] by default. Throws a `UserError` if there are
 * none.
 */
export function kernelCases(selection: Selection, usual: { n: number; k: number }): KernelCase[] {
  const { kernel, format, shape, tokens } = selection;
  if (kernel !== undefined && !KERNELS.includes(kernel)) {
    throw new UserError(
      `There is no kernel "${kernel}": expected ${KERNELS.join(", ")}${hint(kernel, KERNELS)}`,
    );
  }
  if (shape && kernel !== undefined && kernel in ATTENTION) {
    const shaped = [MATRICES, ROWS].flatMap(Object.keys);
    throw new UserError(`${kernel} takes no --shape: that is for ${shaped.join(", ")}.`);
  }
  const named = (one: string) => kernel === undefined || kernel === one;
  const accepted = formatsOf(kernel);
  const asked = (name: string) =>
    format === undefined || format.toLowerCase() === name.toLowerCase();
  if (!accepted.some(asked)) {
    throw new UserError(
      `${kernel ?? "No kernel"} takes ${kernel ? "no" : "a"} format "${format}": expected ${accepted.join(", ")}${hint(format, accepted)}`,
    );
  }
  const sizes = { ...(shape ?? usual), tokens };
  const formats = [...FORMATS.values()].filter(({ name }) => asked(name));
  const fitting = formats.filter(({ blockWeights }) => sizes.k % blockWeights === 0);
  const matrices = Object.keys(MATRICES).filter(named);
  if (matrices.length > 0 && formats.length > 0 && fitting.length === 0) {
    const { name, blockWeights } = formats[0]!;
    throw new UserError(
      `Rows of ${sizes.k} weights are no whole blocks: with ${name}, K must be a multiple of ${blockWeights}.`,
    );
  }
  return [
    ...matrices.flatMap((name) => fitting.map((format) => MATRICES[name]!(format, sizes))),
    ...Object.keys(ROWS)
      .filter((name) => named(name) && asked("F32"))
      .flatMap((name) => ROWS[name]!(sizes, shape !== undefined)),
    ...Object.keys(ATTENTION)
      .filter((name) => named(name) && !shape)
      .flatMap((name) =>
        KV_TYPES.filter(asked).flatMap((kvType) => ATTENTION[name]!(kvType, tokens)),
      ),
  ];
}

/** The formats that a kernel takes, or all. */
export function formatsOf(kernel: string | undefined): readonly string[] {
  if (kernel !== undefined && kernel in ROWS) return ["F32"];
  if (kernel !== undefined && kernel in ATTENTION) return KV_TYPES;
  return [...FORMATS.keys()];
}

/** The sizes for one token, and for the given number of tokens. */
function oneAndSeveral(sizes: Sizes): Sizes[] {
  return [1, sizes.tokens].filter(isFirst).map((tokens) => ({ ...sizes, tokens }));
}

function isFirst<T>(value: T, i: number, all: readonly T[]): boolean {
  return all.indexOf(value) === i;
}
