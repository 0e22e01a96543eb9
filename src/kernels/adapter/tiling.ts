// Chooses for an adapter how much each workgroup does, which of several shaders runs, and how its
// lanes add up.

import type { Grid } from "../gpu/commands.ts";
import { type Adapter, EIGHT, type Placement } from "./adapter.ts";

/**
 * Lanes of an attention workgroup: a power of two, such that each lane holds at most eight cells of
 * a head.
 */
export function attentionLanes({ lanes }: Adapter, headWidth: number): number {
  return Math.max(lanes, 2 ** Math.ceil(Math.log2(headWidth / 32)));
}

/** Query rows of a workgroup of attention.wgsl, at most. */
const ATTENTION_ROWS = 4;

/**
 * Tokens of a tile of attention whose heads come by `share` to a key/value head: as few as fill all
 * rows of its workgroups.
 */
export function attentionTokens(share: number): number {
  let tokens = 1;
  while ((tokens * share) % ATTENTION_ROWS > 0) tokens++;
  return tokens;
}

/** Query rows of a workgroup of attention-cpu.wgsl, and the widest heads that it takes. */
const CPU_ATTENTION = { rows: 32, width: 128 };

/** Heads of attention: those of keys and values are shared by as many queries' each. */
interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headWidth: number;
}

/** The shader for long pieces of text, and the tokens of an item. */
export function longAttention(
  { placement }: Adapter,
  { heads, kvHeads, headWidth }: Heads,
): { readonly shader: "attention/attention" | "cpu/attention-cpu"; readonly tokens: number } {
  const share = heads / kvHeads;
  const { rows, width } = CPU_ATTENTION;
  return placement === "interleaved" && headWidth <= width && share <= rows
    ? { shader: "cpu/attention-cpu", tokens: Math.floor(rows / share) }
    : { shader: "attention/attention", tokens: attentionTokens(share) };
}

/** Rows of a workgroup of attention for tiles of at most this many tokens. */
export function attentionRows(share: number, tokens: number): number {
  return Math.min(ATTENTION_ROWS, share * tokens);
}

/** Ranges into which the keys of a token are split at most, but for those that only touch them. */
export const MOST_RANGES = 64;

/** Ranges more, if they do not begin where what is seen begins: of sinks and of a window. */
export const SPARE_RANGES = 3;

/** Positions of a range that are worth a workgroup: a software adapter has few at a time. */
const LEAST_RANGE = { software: 128, card: 32 };

/** Workgroups of attention that keep a card busy. */
const CARD_GROUPS = 512;

/** Positions of a range if keys are not split. */
const WHOLE = 2 ** 32;

export interface SplitKeys {
  /** How many keys a token sees. */
  readonly keys: number;
  /** Workgroups that there would be without splitting. */
  readonly groups: number;
  /** The most ranges that there is room for. */
  readonly most: number;
}

/** Text positions of a range of the keys of a token: a power of two. */
export function attentionRange(
  { busyGroups, isSoftware }: Adapter,
  { keys, groups, most }: SplitKeys,
): number {
  const wanted = Math.min(most, Math.ceil(Math.min(busyGroups, CARD_GROUPS) / groups));
  if (wanted <= 1) return WHOLE;
  const least = isSoftware ? LEAST_RANGE.software : LEAST_RANGE.card;
  return Math.max(least, 2 ** Math.ceil(Math.log2(keys / wanted)));
}

/** A shader that multiplies, with its fragments (except the weight format) and overrides. */
interface Tiling {
  readonly shader: string;
  readonly fragments: readonly string[];
}

export interface MatvecTiling extends Tiling {
  readonly overrides: Readonly<Record<string, number>> & {
    /** Of a workgroup. */
    readonly ROWS: number;
    /** Vectors of a workgroup; default 1. */
    readonly TOKENS?: number;
  };
}

export interface MatmulTiling extends Tiling {
  readonly overrides?: Readonly<Record<string, number>>;
  /** Workgroups along n, along T. */
  readonly grid: (n: number, tokens: number) => readonly [number, number];
}

/** A matrix of n rows, placed so, that is multiplied with the vectors of one or few tokens. */
export interface Product {
  readonly placement: Placement;
  readonly n: number;
  readonly tokens: "one" | "few";
  /**
   * The rows of a workgroup are a multiple of this: 16 if eight rows of G and eight of U belong
   * together.
   */
  readonly least: 8 | 16;
}

const MATVEC_ROWS = 64; // MAX_ROWS of matvec.wgsl
/** Tokens of a workgroup, if there are few: MAX_TOKENS of matvec.wgsl. */
const MATVEC_TOKENS = 4;
/**
 * The most rows of a workgroup on a card: compilers unroll all of them, and a long matrix has
 * enough workgroups for any card.
 */
const CARD_ROWS = 32;
const CPU_ROWS = 1024; // MAX_ROWS of matvec-cpu.wgsl and matmul-cpu.wgsl
/**
 * The size of the last workgroup as a share of a full one: about the work of a thread in the time
 * that another one takes to wake.
 */
const LAST_SHARE = 0.35;

/**
 * The shader that multiplies a matrix with one vector on an adapter, and the rows of a workgroup:
 * such that about `workgroups` of them have equal work; in `matvec` a power of two, since compilers
 * unroll the rows. On a CPU one shorter workgroup follows: the thread that started first takes it
 * while the thread that was woken last still works.
 */
export function matvecTiling(adapter: Adapter, product: Product): MatvecTiling {
  const { placement, n, tokens, least } = product;
  const { workgroups, lanes: LANES, isSoftware } = adapter;
  const TOKENS = tokens === "one" ? 1 : MATVEC_TOKENS;
  if (placement === "interleaved") {
    const times = Math.max(1, Math.ceil((n / CPU_ROWS - LAST_SHARE) / workgroups));
    const share = n / (times * workgroups + LAST_SHARE);
    const overrides = { ROWS: Math.ceil(share / least) * least };
    return { shader: "cpu/matvec-cpu", fragments: ["cpu/reduce-eight"], overrides };
  }
  // Sums of a lane: of few vectors as many as of one on a card, since compilers unroll all of them.
  const most = isSoftware && tokens === "one" ? MATVEC_ROWS : CARD_ROWS / TOKENS;
  const wanted = Math.min(most, 2 ** Math.floor(Math.log2(n / workgroups)));
  const ROWS = Math.max(least, wanted);
  return {
    shader: "matrix/matvec",
    fragments: [reduction(adapter, LANES)],
    overrides: { LANES, ROWS, TOKENS },
  };
}

/** A grid of `count` workgroups along x, folded into y if they exceed one dimension. */
export function lineOfGroups({ maxGroups }: Adapter, count: number): Grid {
  const rows = Math.ceil(count / maxGroups);
  return [Math.ceil(count / rows), rows, 1];
}

/** The items of a token's row that the lanes of a shader stride over. */
export interface RowItems {
  readonly count: number;
  readonly lanes: number;
  readonly tokens: number;
}

/**
 * Workgroups in the row of a token: one for every `lanes` items, or fewer if the tokens alone keep
 * a software adapter busy, on which a workgroup costs as much as a dozen items.
 */
export function rowGroups({ busyGroups }: Adapter, { count, lanes, tokens }: RowItems): number {
  return Math.min(Math.ceil(count / lanes), Math.ceil(busyGroups / tokens));
}

const TILE = 32; // of matmul.wgsl, rows and tokens
const MATRICES_TILE = 64; // TILE of matmul-matrices.wgsl, rows and tokens
const CPU_TOKENS = 8; // TOKENS of matmul-cpu.wgsl

/** The shader that multiplies a matrix of n rows with several tokens on an adapter. */
export function matmulTiling(adapter: Adapter): MatmulTiling {
  const { placement, workgroups, matrixShape, subgroup } = adapter;
  if (placement === "interleaved") {
    return {
      shader: "cpu/matmul-cpu",
      fragments: ["cpu/reduce-eight"],
      overrides: { LAST_SHARE },
      grid(n, tokens) {
        const tiles = Math.ceil(tokens / CPU_TOKENS);
        // As few as suit a single vector: each workgroup loads its tokens again.
        const wanted = Math.min(Math.ceil(n / 32), Math.ceil(workgroups / tiles));
        if (tiles > 1) return [Math.max(wanted, Math.ceil(n / CPU_ROWS)), tiles];
        return [1 + Math.max(wanted, Math.ceil(n / CPU_ROWS - LAST_SHARE)), tiles];
      },
    };
  }
  const tile = matrixShape ? MATRICES_TILE : TILE;
  return {
    shader: matrixShape ? "matrix/matmul-matrices" : "matrix/matmul",
    fragments: matrixShape ? ["matrix/matrices/matrices", `matrix/matrices/${matrixShape}`] : [],
    ...(matrixShape ? { overrides: { LANES: subgroup! } } : {}),
    grid: (n, tokens) => [Math.ceil(n / tile), Math.ceil(tokens / tile)],
  };
}

/** The fragment that sums over the lanes of a workgroup of this size. */
export function reduction({ subgroup }: Adapter, lanes: number): string {
  if (subgroup !== lanes) return "rows/reduce";
  return lanes === EIGHT ? "cpu/reduce-eight" : "rows/reduce-subgroup";
}
