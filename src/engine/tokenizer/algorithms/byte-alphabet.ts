import { bytesOfText } from "../../gguf/byte-text.ts";

/**
 * GPT-2's alphabet, in which byte-level vocabularies spell their tokens: every byte as one visible
 * character. The printable bytes stand for themselves, the other 68 are U+0100 and following, so a
 * space is "Ġ" and a line feed "Ċ".
 */
export const BYTE_CHARACTERS: readonly string[] = alphabet();

const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(
  BYTE_CHARACTERS.map((character, byte) => [character, byte]),
);

function alphabet(): string[] {
  let substitute = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(printable ? byte : substitute++);
  });
}

export function spellBytes(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += BYTE_CHARACTERS[byte]!;
  return text;
}

/**
 * The bytes that a token spells; characters of no byte, which some tools have added, are
 * themselves.
 */
export function bytesOfSpelling(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    const byte = BYTE_OF_CHARACTER.get(character);
    if (byte !== undefined) bytes.push(byte);
    else bytes.push(...bytesOfText(character));
  }
  return Uint8Array.from(bytes);
}
