// The pieces of a step: rows of one sequence each, on their way from a request to an outcome. Integers
// only, no GPU.

import type { Appended } from "../../context/cache/page-table.ts";
import { CHOSEN } from "../../kernels/choice/choice.ts";
import { DeviceLostError } from "../../kernels/gpu/device.ts";
import { type Outcome, type Rows, wantedRows } from "./step.ts";

export interface Piece {
  readonly rows: Rows;
  /** As they are appended: ids, or the token of a choice that lies on the GPU. */
  readonly tokens: Rows["tokens"];
  /** [count] ids, or CHOSEN and the place of the choice. */
  readonly words: readonly number[];
  /** How many of its last rows have logits that are wanted. */
  readonly tail: number;
  /** Where its tokens go in each cache group. */
  appended: readonly Appended[];
  /** The row of the step that is its first. */
  first: number;
  /** [tail, V], as far as they have been read. */
  logits: Float32Array | undefined;
  /** What has been read of its rows one by one, if it is wanted so. */
  readonly byRow: unknown[];
  outcome: Outcome | undefined;
}

/** Neighbouring rows of a piece whose logits are wanted: the head computes them from its row `to` on. */
export interface Tail {
  readonly piece: Piece;
  /** Row of the step. */
  readonly first: number;
  readonly count: number;
  readonly to: number;
}

/**
 * Waits for what has to be known of rows before they can be appended. `justChosen` are the choices of
 * the step before, which lie on the GPU.
 */
export async function arrive(
  rows: Rows,
  justChosen: ReadonlyMap<Promise<number>, number>,
): Promise<Piece> {
  const { sequence } = rows;
  const tail = wantedRows(rows);
  const piece = {
    rows,
    tail,
    appended: [],
    first: 0,
    logits: undefined,
    byRow: [],
    outcome: undefined,
  };
  const place = "length" in rows.tokens ? undefined : justChosen.get(rows.tokens);
  if (place !== undefined) return { ...piece, tokens: rows.tokens, words: [CHOSEN + place] };
  try {
    const words = "length" in rows.tokens ? rows.tokens : [await rows.tokens];
    if (sequence.ids.length < sequence.length) await sequence.settled();
    return { ...piece, tokens: words, words };
  } catch (reason) {
    return { ...piece, tokens: [], words: [], outcome: { status: "rejected", reason } };
  }
}

/** Appends a piece to its sequence. False if it cannot be, or has failed already. */
export function append(piece: Piece): boolean {
  if (piece.outcome) return false;
  try {
    piece.appended = piece.rows.sequence.append(piece.tokens);
    return true;
  } catch (reason) {
    piece.outcome = { status: "rejected", reason };
    return false;
  }
}

/** Lays pieces out one after the other; returns T. */
export function layOut(pieces: readonly Piece[]): number {
  let tokens = 0;
  for (const piece of pieces) {
    piece.first = tokens;
    tokens += piece.words.length;
  }
  return tokens;
}

/** The text positions of the tokens of a piece that has been appended. */
export function positionsOf({ rows: { sequence }, words }: Piece): number[] {
  return words.map((_, i) => sequence.length - words.length + i);
}

/** The rows of laid out pieces whose logits are wanted. */
export function tailsOf(pieces: readonly Piece[]): Tail[] {
  const tails: Tail[] = [];
  let to = 0;
  for (const piece of pieces) {
    const { first, words, tail: count } = piece;
    if (count > 0) tails.push({ piece, first: first + words.length - count, count, to });
    to += count;
  }
  return tails;
}

/** Tails in parts of at most `most` rows. */
export function batchesOf(tails: readonly Tail[], most: number): Tail[][] {
  const batches: Tail[][] = [];
  let room = 0;
  for (const { piece, first, count } of tails) {
    for (let taken = 0; taken < count; ) {
      if (room === 0) {
        batches.push([]);
        room = most;
      }
      const some = Math.min(room, count - taken);
      batches.at(-1)!.push({ piece, first: first + taken, count: some, to: most - room });
      room -= some;
      taken += some;
    }
  }
  return batches;
}

/**
 * Sets the outcome of a piece that has none, by what is computed or thrown for it. A lost device is
 * thrown: it concerns the whole step.
 */
export async function settle(piece: Piece, compute: () => Promise<unknown>): Promise<void> {
  if (piece.outcome) return;
  try {
    piece.outcome = { status: "fulfilled", value: await compute() };
  } catch (reason) {
    if (reason instanceof DeviceLostError) throw reason;
    piece.outcome = { status: "rejected", reason };
  }
}

/** Adds what is read of rows to a piece. What is thrown is its outcome, as in `settle`. */
export async function collect(
  piece: Piece,
  read: () => Promise<readonly unknown[]>,
): Promise<void> {
  try {
    piece.byRow.push(...(await read()));
  } catch (reason) {
    if (reason instanceof DeviceLostError) throw reason;
    piece.outcome = { status: "rejected", reason };
  }
}

/** What was wanted of a piece that has been read. */
export function resultOf({ rows: { wanted }, logits, byRow }: Piece): unknown {
  if (wanted.kind === "choices" || wanted.kind === "lists") return byRow;
  return wanted.kind === "logits" ? (logits ?? new Float32Array()) : logits;
}

/** Tells what the sequences of pieces have evicted: an error of a listener fails its piece alone. */
export function tellEvictions(pieces: readonly Piece[]): void {
  for (const piece of pieces) {
    try {
      piece.rows.sequence.tellEvicted();
    } catch (reason) {
      piece.outcome = { status: "rejected", reason };
    }
  }
}
