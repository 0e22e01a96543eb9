// Every kernel of the engine, with every format that it takes.

import { UserError } from "../../errors.ts";
import { CELL_TYPES, type CellType } from "../../kernels/attention/cells.ts";
import type { WeightFormat } from "../../kernels/weights/formats/format.ts";
import { FORMATS } from "../../kernels/weights/formats/index.ts";
import { hint } from "../../option-reader.ts";
import { attention, attentionWeights, ropeStore } from "./attention-cases.ts";
import type { KernelCase, Sizes } from "./kernel-case.ts";
import { embed, matmul, matvec, matvecSwiglu } from "./matrix-cases.ts";
import { bias, choose, gate, norm, top } from "./row-cases.ts";

/** What is asked for: everything that is not said otherwise. */
export interface Selection {
  readonly kernel?: string | undefined;
  /** A weight format or the cells of a cache, in any case. */
  readonly format?: string | undefined;
  readonly shape?: { readonly n: number; readonly k: number } | undefined;
  readonly tokens: number;
}

const MATRICES: Record<string, (format: WeightFormat, sizes: Sizes) => KernelCase> = {
  matvec: (format, sizes) => matvec(format, sizes, false),
  "matvec-normed": (format, sizes) => matvec(format, sizes, true),
  "matvec-swiglu": matvecSwiglu,
  matmul,
  embed,
};

const ROWS: Record<string, (sizes: Sizes, shaped: boolean) => KernelCase[]> = {
  "rms-norm": (sizes) => oneAndSeveral(sizes).map(norm),
  swiglu: (sizes) => oneAndSeveral(sizes).map(gate),
  "add-bias": (sizes) => oneAndSeveral(sizes).map(bias),
  choose: ({ n }, shaped) => [choose({ n: shaped ? n : VOCABULARY })],
  top: ({ n }, shaped) => [top({ n: shaped ? n : VOCABULARY })],
};

const ATTENTION: Record<string, (cells: CellType, tokens: number) => KernelCase[]> = {
  "rope-store": (cells, tokens) => [1, tokens].filter(isFirst).map((t) => ropeStore(cells, t)),
  attention: (cells, tokens) => [
    ...SLOTS.map((slots) => attention(cells, slots, 1)),
    ...(tokens > 1 ? [attention(cells, Math.max(SLOTS[1], tokens), tokens)] : []),
  ],
  "attention-weights": (cells) => [attentionWeights(cells, SLOTS[1])],
};

const VOCABULARY = 32000;
const SLOTS = [128, 1024, 4096] as const;

/** What `--kernel` may name. */
export const KERNELS: readonly string[] = [MATRICES, ROWS, ATTENTION].flatMap(Object.keys);

/** The cases of a selection, matrices being [n, k] where it does not say. Throws a `UserError` where there are none. */
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
        CELL_TYPES.filter(asked).flatMap((cells) => ATTENTION[name]!(cells, tokens)),
      ),
  ];
}

/** The formats that a kernel takes, or all. */
function formatsOf(kernel: string | undefined): readonly string[] {
  if (kernel !== undefined && kernel in ROWS) return ["F32"];
  if (kernel !== undefined && kernel in ATTENTION) return CELL_TYPES;
  return [...FORMATS.keys()];
}

/** The sizes for one token, and for as many as are given. */
function oneAndSeveral(sizes: Sizes): Sizes[] {
  return [1, sizes.tokens].filter(isFirst).map((tokens) => ({ ...sizes, tokens }));
}

function isFirst<T>(value: T, i: number, all: readonly T[]): boolean {
  return all.indexOf(value) === i;
}
