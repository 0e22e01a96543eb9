/**
 * Texts as the words of BERT's vocabularies, character by character as Hugging Face's `tokenizers`
 * (0.23) reads them. Its categories are those of Unicode 8, so the marks and signs of the scripts
 * that came later (Adlam, Newa and others) are letters to it.
 */
export interface WordNormalizer {
  readonly lowercase: boolean;
  /** Take marks that need no space (Mn) away: "é" is "e". */
  readonly stripAccents: boolean;
}

/** Ranges without any character that was of the category in Unicode 8. */
const NEWER_MARKS = String.raw`\u07fd\u0897-\u08e1\u09fe\u0afa-\u0aff\u0b55\u0c04-\u0c3c\u0d00\u0d3b\u0d3c\u0d81\u0eba\u0ece\u180f-\u1886\u1abf-\u1aeb\u1df6-\u1dfb\ua82c\ua8c5\ua8ff\ua9bd\u{10d24}-\u{10f85}\u{11070}-\u{11074}\u{110c2}\u{111c9}\u{111cf}\u{1123e}-\u{11241}\u{1133b}\u{113bb}-\u{1145e}\u{1182f}-\u{1612f}\u{16f4f}\u{16fe4}\u{1cf00}-\u{1cf46}\u{1e000}-\u{1e6f5}\u{1e944}-\u{1e94a}`;
const NEWER_CONTROLS = String.raw`\u0890-\u08e2\u{110cd}-\u{1343f}`;
const NEWER_PUNCTUATION = String.raw`\u061d\u09fd-\u0a76\u0c77-\u0c84\u1b4e\u1b4f\u1b7d-\u1b7f\u2e43-\u2e5d\u{10d6e}-\u{10f89}\u{113d4}-\u{1145d}\u{11660}-\u{116b9}\u{1183b}-\u{11fff}\u{12ff1}\u{12ff2}\u{16d6d}-\u{16fe2}\u{1e5ff}-\u{1e95f}`;

/** U+000B, U+000C and U+0085 are no space here but controls. */
const SPACE = String.raw`\t\n\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;
const CONTROL = String.raw`(?![\t\n\r${NEWER_CONTROLS}])[\p{Cc}\p{Cf}\p{Co}\ufffd]`;
const MARK = String.raw`(?![${NEWER_MARKS}])\p{Mn}|[\u1734\u{1171e}]`;
const PUNCTUATION = String.raw`(?![${NEWER_PUNCTUATION}])[\p{P}$+<=>^\x60\|~]|[\u166d\u{111c9}]`;
/** Ideographs, of which each is a word; the ends of the ranges are those of BERT. */
const IDEOGRAPH = String.raw`[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]`;

const SPACES = new RegExp(`[${SPACE}]+`, "u");
const CONTROLS = new RegExp(CONTROL, "gu");
const MARKS = new RegExp(MARK, "gu");
const IDEOGRAPHS = new RegExp(IDEOGRAPH, "gu");
const WORDS = new RegExp(`${PUNCTUATION}|(?:(?!${PUNCTUATION})[^ ])+`, "gu");
const BORDER = new RegExp(`^[^][${SPACE}!-/:-@\\[-\`{-~]$|^[${SPACE}]`, "u");

/** The parts of a text between its white space. */
export function splitAtSpace(text: string): string[] {
  return text.split(SPACES).filter((part) => part !== "");
}

/** White space and the punctuation of ASCII end a word whatever comes before them. */
export function isWordBorder(left: string, right: string): boolean {
  return BORDER.test(left + right);
}

/** The words of a text without white space. */
export function wordsOf(text: string, normalizer: WordNormalizer): string[] {
  let plain = text.replace(CONTROLS, "").replace(IDEOGRAPHS, " $& ");
  if (normalizer.stripAccents) plain = plain.normalize("NFD").replace(MARKS, "");
  // Without the capital sigma, whose small letter would depend on what follows.
  if (normalizer.lowercase) plain = plain.replaceAll("\u03a3", "\u03c3").toLowerCase();
  return plain.match(WORDS) ?? [];
}
