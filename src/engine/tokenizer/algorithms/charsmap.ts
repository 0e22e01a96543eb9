/**
 * `tokenizer.ggml.precompiled_charsmap`: SentencePiece's replacements of characters, such as those of
 * Unicode's NFKC. A double array, whose units are 32 bits, leads from the UTF-8 bytes of a text to
 * places among the replacements. (Kanda et al. 2018; the layout is that of Darts-clone)
 *
 * The file is untrusted: no place beyond the array or the replacements is read, a walk has an end,
 * and a text grows by a bounded factor.
 */
import { UserError } from "../../../errors.ts";

/** Bytes of the whole; Unicode's have less than a tenth. */
const LARGEST = 2 ** 22;
/** Bytes of a text that are replaced at once; Unicode's longest have 18. */
const LONGEST_KEY = 256;
/** Bytes that they are replaced by; Unicode's longest have 33. */
const LONGEST_REPLACEMENT = 1024;

export class Charsmap {
  /** Of the double array: bits 0 to 7 and 31 are the label, 8 tells an end, 9 to 30 the offset. */
  readonly #units: Uint32Array;
  /** Each ends with a byte of zero. */
  readonly #replacements: Uint8Array;
  /** Decoded, by their places. */
  readonly #texts = new Map<number, string>();
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  /** Throws a `UserError` if its parts do not fit together. */
  constructor(bytes: Uint8Array) {
    if (bytes.length > LARGEST) throw damaged(`${bytes.length} bytes, more than ${LARGEST}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const size = bytes.length < 4 ? 0 : view.getUint32(0, true);
    if (size === 0 || size % 4 !== 0 || size > bytes.length - 4) {
      throw damaged(`an array of ${size} bytes in ${bytes.length}`);
    }
    this.#units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.#replacements = bytes.subarray(4 + size);
    let length = 0;
    for (const byte of this.#replacements) {
      length = byte === 0 ? 0 : length + 1;
      if (length > LONGEST_REPLACEMENT) throw damaged(`a replacement of ${length} bytes`);
    }
    if (length > 0) throw damaged("a replacement without an end");
  }

  /**
   * The text with the longest keys replaced, from left to right, as SentencePiece does. (Hugging
   * Face's tokenizers replace a cluster of characters as a whole or one by one, so that "か" with a
   * voice mark stays two.)
   */
  replace(text: string): string {
    const bytes = new TextEncoder().encode(text);
    const parts: string[] = [];
    let kept = 0; // where the bytes begin that stay as they are
    for (let at = 0; at < bytes.length; ) {
      const found = this.#find(bytes, at);
      if (found === undefined) {
        at += characterBytes(bytes[at]!);
        continue;
      }
      if (at > kept) parts.push(this.#utf8.decode(bytes.subarray(kept, at)));
      parts.push(this.#replacement(found.place));
      at += found.length;
      kept = at;
    }
    if (parts.length === 0) return text;
    parts.push(this.#utf8.decode(bytes.subarray(kept)));
    return parts.join("");
  }

  /**
   * The bytes that are replaced together with what is before them, and those together with what is
   * behind them.
   */
  neighbours(): { readonly before: ReadonlySet<number>; readonly behind: ReadonlySet<number> } {
    const before = new Set<number>();
    const behind = new Set<number>();
    const isSeen = new Uint8Array(this.#units.length);
    const nodes = [0];
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      for (let byte = 1; byte < 256; byte++) {
        const child = this.#child(node, byte);
        if (child === undefined) continue;
        if (node !== 0) before.add(byte);
        if (node !== 0) behind.add(this.#units[node]! & 0xff);
        // A damaged array may lead back to where it came from.
        if (isSeen[child] === 0) nodes.push(child);
        isSeen[child] = 1;
      }
    }
    return { before, behind };
  }

  /** The longest key that begins here, and the place of its replacement. */
  #find(bytes: Uint8Array, from: number): { length: number; place: number } | undefined {
    const end = Math.min(bytes.length, from + LONGEST_KEY);
    let found: { length: number; place: number } | undefined;
    let node: number | undefined = 0;
    for (let at = from; at < end; at++) {
      node = this.#child(node, bytes[at]!);
      if (node === undefined) break;
      const unit = this.#units[node]!;
      if (((unit >>> 8) & 1) === 0) continue;
      const place = this.#units[this.#base(node)];
      if (place === undefined || (place & 0x7fffffff) >= this.#replacements.length) continue;
      found = { length: at - from + 1, place: place & 0x7fffffff };
    }
    return found;
  }

  /** The node behind one byte more; undefined if there is none. */
  #child(node: number, byte: number): number | undefined {
    const child = (this.#base(node) ^ byte) >>> 0;
    const unit = this.#units[child];
    // The highest bit marks a value, which is no node.
    return byte !== 0 && unit !== undefined && (unit & 0x800000ff) >>> 0 === byte
      ? child
      : undefined;
  }

  /** Where the children of a node are, but for their labels. */
  #base(node: number): number {
    const unit = this.#units[node]!;
    return (node ^ ((unit >>> 10) << ((unit & 0x200) >>> 6))) >>> 0;
  }

  #replacement(place: number): string {
    let text = this.#texts.get(place);
    if (text === undefined) {
      const end = this.#replacements.indexOf(0, place);
      text = this.#utf8.decode(this.#replacements.subarray(place, end));
      this.#texts.set(place, text);
    }
    return text;
  }
}

/** Of the character that begins with this byte of UTF-8. */
function characterBytes(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}

function damaged(found: string): UserError {
  return new UserError(
    `tokenizer.ggml.precompiled_charsmap: expected an array of units and replacements that end, found ${found}. The file is damaged or was converted wrongly: take another copy.`,
  );
}
