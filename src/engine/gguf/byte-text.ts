/**
 * Bytes as text without loss, as with Python's "surrogateescape" (PEP 383): UTF-8 is decoded, and
 * every other byte b becomes U+DC00 + b, which UTF-8 never decodes to. A token may be half a
 * character.
 */
const STRICT = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true }); // U+FEFF is a token too
const UTF8 = new TextEncoder();

const ESCAPE = 0xdc00;
/** With the flag u it does not match one half of a surrogate pair. */
const ESCAPED = /[\udc80-\udcff]/u;

export function textOfBytes(bytes: Uint8Array): string {
  try {
    return STRICT.decode(bytes);
  } catch {
    return escaped(bytes);
  }
}

function escaped(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    let end = at;
    for (let length = 1; length > 0 && end < bytes.length; end += length) {
      length = characterLength(bytes, end);
    }
    parts.push(STRICT.decode(bytes.subarray(at, end)));
    if (end < bytes.length) parts.push(String.fromCharCode(ESCAPE + bytes[end]!));
    at = end + 1;
  }
  return parts.join("");
}

export function bytesOfText(text: string): Uint8Array {
  if (!ESCAPED.test(text)) return UTF8.encode(text);
  const bytes: number[] = [];
  for (const character of text) {
    if (ESCAPED.test(character)) bytes.push(character.charCodeAt(0) - ESCAPE);
    else bytes.push(...UTF8.encode(character));
  }
  return Uint8Array.from(bytes);
}

/**
 * The length in bytes of the character that begins here; 0 if none does. (Unicode's core
 * specification, table 3-7)
 */
function characterLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  const isWithin = (byte: number | undefined, from: number, to: number) =>
    byte !== undefined && byte >= from && byte <= to;
  if (!isWithin(bytes[at + 1], least, most)) return 0;
  for (let i = 2; i < length; i++) if (!isWithin(bytes[at + i], 0x80, 0xbf)) return 0;
  return length;
}
