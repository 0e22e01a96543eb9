import { UserError } from "../../errors.ts";
import { textOfBytes } from "./byte-text.ts";
import { LIMITS, type NumericType, SCALAR_TYPES } from "./format.ts";
import type { ByteSource } from "./source.ts";

const DAMAGED = "The file is damaged or cut short: fetch it again and compare its size.";
const BEYOND = "The file is damaged, or beyond what dawnstream allows: no known model needs more.";

export interface GgufFault {
  readonly file: string;
  /** Where in `file`, in bytes; absent if the fault has no single place. */
  readonly offset?: number;
  readonly expected: string;
  readonly found: string;
  /** What to do about it. */
  readonly advice?: string;
  readonly cause?: unknown;
}

/** A GGUF file that cannot be used: where, what should have been there, what is, and what to do. */
export class GgufError extends UserError {
  override readonly name: string = "GgufError";
  readonly file: string;
  readonly offset: number | undefined;
  readonly expected: string;
  readonly found: string;

  constructor({ file, offset, expected, found, advice = DAMAGED, cause }: GgufFault) {
    const where = offset === undefined ? file : `${file}: at byte ${offset}`;
    super(`${where}: expected ${expected}, found ${found}. ${advice}`, { cause });
    this.file = file;
    this.offset = offset;
    this.expected = expected;
    this.found = found;
  }
}

/** Text from the file as it may stand in a message: quoted, on one line, not too long. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

/** The bytes that a cursor holds at once. One read covers the header of most models. */
const WINDOW_BYTES = 256 * 1024;

const NUMBERS = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
  f64: Float64Array,
} as const;

export type NumericArray = InstanceType<(typeof NUMBERS)[NumericType]>;

const GET: Record<NumericType, (view: DataView, at: number) => number | bigint> = {
  u8: (view, at) => view.getUint8(at),
  i8: (view, at) => view.getInt8(at),
  u16: (view, at) => view.getUint16(at, true),
  i16: (view, at) => view.getInt16(at, true),
  u32: (view, at) => view.getUint32(at, true),
  i32: (view, at) => view.getInt32(at, true),
  f32: (view, at) => view.getFloat32(at, true),
  u64: (view, at) => narrow(view.getBigUint64(at, true)),
  i64: (view, at) => narrow(view.getBigInt64(at, true)),
  f64: (view, at) => view.getFloat64(at, true),
};

/** A number if it is exact; a bigint only beyond 2^53. */
function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/**
 * Reads a header from front to back, little-endian, through a window of fixed size; the file is
 * never held as a whole. No length from the file is trusted: each is compared with the bytes that
 * remain before memory is allocated, so nothing allocated here is larger than the file.
 */
export class Cursor {
  readonly #source: ByteSource;
  readonly #window: Uint8Array;
  readonly #view: DataView;
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  /** The end of the bytes that may be read. */
  readonly #end: number;
  /**
   * The window holds bytes [#start, #start + #held) of the file; the next to be read is #start +
   * #at.
   */
  #start = 0;
  #held = 0;
  #at = 0;

  /** `windowBytes` is at least 8: the longest number has to fit. */
  constructor(source: ByteSource, windowBytes: number = WINDOW_BYTES) {
    this.#source = source;
    this.#end = Math.min(source.size, LIMITS.headerBytes);
    this.#window = new Uint8Array(Math.min(windowBytes, this.#end));
    this.#view = new DataView(this.#window.buffer);
  }

  /** Where in the file the next byte is read. */
  get offset(): number {
    return this.#start + this.#at;
  }

  get remaining(): number {
    return this.#end - this.offset;
  }

  error(offset: number, expected: string, found: string, advice: string = DAMAGED): GgufError {
    return new GgufError({ file: this.#source.name, offset, expected, found, advice });
  }

  async number(type: NumericType, what: string): Promise<number | bigint> {
    return GET[type](this.#view, await this.#take(SCALAR_TYPES[type].bytes, what));
  }

  async u32(what: string): Promise<number> {
    return this.#view.getUint32(await this.#take(4, what), true);
  }

  /**
   * A u64 that says how many things follow, each of `bytesEach` bytes at least. Refused beyond
   * `limit`, and beyond what the rest of the file can hold; so it is safe to allocate.
   */
  async count(what: string, limit: number, bytesEach: number): Promise<number> {
    const at = this.offset;
    const count = await this.number("u64", what);
    const room = Math.floor(this.remaining / bytesEach);
    if (count > limit) throw this.error(at, `${what} of at most ${limit}`, `${count}`, BEYOND);
    if (count > room) {
      const rest = `${this.remaining} bytes that remain`;
      throw this.error(at, `${what} of at most ${room} (what fits into the ${rest})`, `${count}`);
    }
    return Number(count);
  }

  /** Invalid UTF-8 becomes U+FFFD: this text is only shown. */
  async string(what: string, limit: number = LIMITS.stringBytes): Promise<string> {
    return this.#utf8.decode(await this.#bytes(what, limit));
  }

  /**
   * Without loss, in the notation of byte-text.ts: they may be tokens, and a token half a
   * character.
   */
  async strings(count: number, what: string): Promise<string[]> {
    const strings: string[] = [];
    for (let i = 0; i < count; i++) {
      const bytes = this.#bytesInWindow() ?? (await this.#bytes(what, LIMITS.stringBytes));
      strings.push(textOfBytes(bytes));
    }
    return strings;
  }

  async #bytes(what: string, limit: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(await this.count(`a length of ${what}`, limit, 1));
    for (let done = 0; done < bytes.length; ) {
      const part = Math.min(bytes.length - done, this.#window.length);
      const at = await this.#take(part, what);
      bytes.set(this.#window.subarray(at, at + part), done);
      done += part;
    }
    return bytes;
  }

  /**
   * A number of elements that `count` has checked. Their bytes are not swapped: every host that has
   * WebGPU is little-endian.
   */
  async numbers(type: NumericType, count: number): Promise<NumericArray> {
    const array = new NUMBERS[type](count);
    const bytes = new Uint8Array(array.buffer);
    const ready = Math.min(bytes.length, this.#held - this.#at);
    bytes.set(this.#window.subarray(this.#at, this.#at + ready));
    this.#at += ready;
    if (ready < bytes.length) {
      await this.#source.read(this.offset, bytes.subarray(ready));
      this.#start = this.offset + bytes.length - ready;
      this.#held = 0;
      this.#at = 0;
    }
    return array;
  }

  /**
   * The bytes of the next string, if the window has all of it: a vocabulary has hundreds of
   * thousands of strings, and an await for each would cost more than decoding. Otherwise, or if its
   * length cannot be right, nothing is read, and `#bytes` handles it.
   */
  #bytesInWindow(): Uint8Array | undefined {
    const at = this.#at + 8;
    if (at > this.#held) return undefined;
    const low = this.#view.getUint32(at - 8, true);
    const high = this.#view.getUint32(at - 4, true);
    if (high !== 0 || low > this.#held - at) return undefined;
    this.#at = at + low;
    return this.#window.subarray(at, at + low);
  }

  /** Moves past the next `bytes` bytes and returns where in the window they start. */
  async #take(bytes: number, what: string): Promise<number> {
    if (this.#held - this.#at < bytes) await this.#fill(bytes, what);
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  /** Brings `bytes` bytes into the window, and as many more as it has room for. */
  async #fill(bytes: number, what: string): Promise<void> {
    if (bytes > this.remaining) throw this.#endOfFile(bytes, what);
    this.#window.copyWithin(0, this.#at, this.#held);
    this.#start += this.#at;
    this.#held -= this.#at;
    this.#at = 0;
    const more = Math.min(this.#window.length - this.#held, this.remaining - this.#held);
    const next = this.#start + this.#held;
    await this.#source.read(next, this.#window.subarray(this.#held, this.#held + more));
    this.#held += more;
  }

  #endOfFile(bytes: number, what: string): GgufError {
    const end = this.#end < this.#source.size ? "the limit of a header" : "the end of the file";
    return this.error(
      this.offset,
      `${bytes} bytes of ${what}`,
      `${end} after ${this.remaining} of them`,
    );
  }
}
