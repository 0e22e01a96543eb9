/**
 * The rules by which byte-level vocabularies cut text, by their names in `tokenizer.ggml.pre`. The
 * expressions are those of the models' own tokenizer.json files, where llama.cpp has approximations
 * that its regular expressions can run; only case-insensitive groups are written out, since Node 20
 * has no modifiers, and \s is that of Unicode (pre-tokenizer.ts).
 */
import { type Cut, cutGroups } from "./digit-groups.ts";

/** (?i:'s|'t|'re|'ve|'m|'ll|'d); the long s is an s of another case. */
const CONTRACTION = "(?:'[sS\\u017f]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const WORD = String.raw`[^\r\n\p{L}\p{N}]?\p{L}+`;
const SYMBOLS_AND_SPACE = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`;
const LLAMA3 = String.raw`${CONTRACTION}|${WORD}|\p{N}{1,3}|${SYMBOLS_AND_SPACE}`;
const QWEN2 = String.raw`${CONTRACTION}|${WORD}|\p{N}|${SYMBOLS_AND_SPACE}`;
const QWEN35 = String.raw`${CONTRACTION}|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

/** Words are cut where lower case meets upper case; letters without case, and marks, are both. */
const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const AFTER_WORDS = String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const TEKKEN = String.raw`[^\r\n\p{L}\p{N}]?${UPPER}*${LOWER}+|[^\r\n\p{L}\p{N}]?${UPPER}+${LOWER}*|\p{N}|${AFTER_WORDS}`;
const GPT4O = String.raw`[^\r\n\p{L}\p{N}]?${UPPER}*${LOWER}+${CONTRACTION}?|[^\r\n\p{L}\p{N}]?${UPPER}+${LOWER}*${CONTRACTION}?|\p{N}{1,3}|${AFTER_WORDS}`;

/** Qwen 2's, except that line breaks do not follow marks of punctuation in a piece. */
const SEED = String.raw`${CONTRACTION}|${WORD}|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`;
const MINICPM5 = [String.raw`\p{N}{1,3}`, LLAMA3];
/** Llama 3's, with white space in powers of two. */
const JAIS2 = String.raw`${CONTRACTION}|${WORD}|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|${[512, 256, 128, 64, 32, 16, 8, 4, "1,2"].map((count) => String.raw`\s{${count}}(?!\S)`).join("|")}|\s`;
/** Words with single spaces between them are one piece. */
const EXAONE_MOE = String.raw`${CONTRACTION}|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n\/]?|\s*[\r\n]|\s+(?!\S)|\s+`;
const CHAMELEON = [
  "<sentinel:[0-9]+>",
  "IMGIMG[A-I]{1,4}Z",
  String.raw`[\t\n]|    |  `,
  String.raw`\p{N}`,
  String.raw`[\p{P}!-\/:-@\[-\x60\{-~]`,
  GPT2,
];
/** GPT-4o's, with runs of Chinese characters by themselves. */
const NOT_HAN = String.raw`(?!\p{Script=Han})`;
const KIMI_K2 = String.raw`\p{Script=Han}+|[^\r\n\p{L}\p{N}]?(?:${NOT_HAN}${UPPER})*(?:${NOT_HAN}${LOWER})+${CONTRACTION}?|[^\r\n\p{L}\p{N}]?(?:${NOT_HAN}${UPPER})+(?:${NOT_HAN}${LOWER})*${CONTRACTION}?|\p{N}{1,3}|${SYMBOLS_AND_SPACE}`;
const YOUTU = [
  String.raw`[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+`,
  GPT4O.replace("{1,3}", ""),
];
/** Digits in threes from the end of a number, so that 1234567 is 1, 234, 567. */
const SUPERBPE = [String.raw`\p{N}+`, cutGroups(/\p{Nd}+/gu, "before")];
const TINY_AYA = [cutGroups(/(?<!\p{Nd})\p{Nd}+(?![\p{L}\p{M}\p{N}\p{Pc}])/gu, "around"), GPT4O];

const BLOOM_MARKS = String.raw`(|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)`;
const BLOOM = String.raw` ?[^\s${BLOOM_MARKS}]+`;

/** The cased letters, as DeepSeek's tokenizer.json lists them: a subset of \p{LC}. */
const DEEPSEEK_LETTERS = String.raw`A-Za-z\xb5\xc0-\xd6\xd8-\xf6\xf8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}`;
const CJK = String.raw`[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+`;
const DEEPSEEK_LLM = [
  String.raw`[\r\n]`,
  String.raw`\s?[${DEEPSEEK_LETTERS}]+`,
  String.raw`\s?[!-\/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+`,
  // Without the look-behind, a run of n spaces inside a piece takes n^2 steps to fail.
  String.raw`(?<!\s)\s+$`,
  CJK,
  String.raw`\p{N}+`,
];
const DEEPSEEK_CODER = [
  String.raw`[\r\n]`,
  String.raw`\s?\p{L}+`,
  String.raw`\s?\p{P}+`,
  CJK,
  String.raw`\p{N}`,
];
const DEEPSEEK_V3 = [
  String.raw`\p{N}{1,3}`,
  String.raw`[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+`,
  String.raw`[!"#$%&'()*+,\-.\/:;<=>?@\[\\\]^_\x60{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
];
const AFMOE = [
  cutGroups(/\p{N}+/gu, "around"),
  String.raw`[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+`,
  DEEPSEEK_V3[2]!,
];
const FALCON = [String.raw`[\p{P}\$\+<=>\^~\|\x60]+`, GPT2, "[0-9][0-9][0-9]"];
const DEFAULT = [String.raw`[\p{P}\$\+<=>\^~\|]+`, GPT2, String.raw`\p{N}+`, "[0-9][0-9][0-9]"];

/**
 * Where text may be cut before any of the expressions above is run on it: between a letter or digit
 * and a line break or a mark of punctuation behind it; with a space behind it, those of ASCII only.
 * (The apostrophe is left out: GPT-4o's words take contractions along.) Three things make it so,
 * all of them to be kept by an expression that is added:
 *
 * 1. No expression has a match that spans the two: these spaces, line breaks and marks never follow
 *    a letter or digit inside a match. (DeepSeek's CJK ranges hold some of them, but earlier stages
 *    have cut these out.) So the left side is cut the same way with or without the right one.
 *    Look-aheads, `\s+(?!\S)` and `\s+$`, look from white space at the next character, and the left
 *    side ends with a letter or digit.
 * 2. The right side is cut as if a text began with it: the only look-behind, `(?<!\s)`, finds no
 *    white space on the left.
 * 3. Text that no match covers is not joined over the border, since every list of stages has one
 *    that ends a match at the letter or digit, or begins one after it. DeepSeek LLM's knows cased
 *    and CJK letters only, and no single space: hence ASCII before a space, and the marks that it
 *    knows.
 */
export const BORDER =
  /^(?:[A-Za-z0-9] |[\p{L}\p{N}][\r\n!-&(-/:-@[-`{-~\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f])$/u;
/** Bloom's words take all marks along but for a few, and end before these as before white space. */
const BLOOM_BORDER = new RegExp(`^[\\p{L}\\p{N}][ \\r\\n${BLOOM_MARKS}]$`, "u");
/** Where numbers alone are cut out, text is cut before and behind them. */
const NUMBER_BORDER = /^(?:\p{N}\P{N}|\P{N}\p{N})$/u;
/** Where a letter and a space, or a sign of other scripts, may be one piece. */
const DIGIT_BORDER = /^(?:[0-9] |[\p{L}\p{N}][\r\n!-&(-/:-@[-`{-~])$/u;
const ASCII_BORDER = /^(?:[A-Za-z0-9] |[\p{L}\p{N}][\r\n!-&(-/:-@[-`{-~])$/u;
/** `_` behind a number keeps it from being cut in threes. */
const TINY_AYA_BORDER = /^(?:[A-Za-z0-9] |[\p{L}\p{N}][\r\n!-&(-/:-@[-^`{-~])$/u;
/** Without what `<sentinel:1>` has. */
const CHAMELEON_BORDER = /^(?:[A-Za-z0-9] |[\p{L}\p{N}][\r\n!,.;?])$/u;

export interface Family {
  readonly names: readonly string[];
  readonly stages: readonly (string | Cut)[];
  readonly ignoreMerges?: boolean;
  readonly addBos?: boolean;
  /** Matches two characters between which text may be cut; by default a letter and a mark. */
  readonly border?: RegExp;
}

export const FAMILIES: readonly Family[] = [
  { names: ["default"], stages: DEFAULT },
  {
    names: [
      ...["gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "modern-bert"],
      ...["mpt", "olmo", "jais", "trillion", "exaone4", "gigachat", "granite-docling"],
      ...["a.x-4.0", "mellum", "jina-v1-en", "jina-v2-code", "roberta-bpe"],
    ],
    stages: [GPT2],
  },
  {
    names: [
      ...["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "lfm2"],
      ...["midm-2.0", "jina-v5-nano"],
    ],
    stages: [LLAMA3],
    ignoreMerges: true,
    addBos: true,
  },
  { names: ["smaug-bpe", "dbrx", "glm4", "chatglm-bpe"], stages: [LLAMA3] },
  {
    names: [
      ...["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "kormo", "f2llmv2"],
      ...["solar-open", "grok-2", "bailingmoe", "bailingmoe2", "llada-moe"],
    ],
    stages: [QWEN2],
  },
  { names: ["qwen35"], stages: [QWEN35] },
  {
    names: [
      ...["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
      "mellum2",
    ],
    stages: [String.raw`\p{N}`, GPT2],
  },
  { names: ["tekken"], stages: [TEKKEN], ignoreMerges: true, addBos: true },
  {
    names: ["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2", "granite-embed-multi-97m"],
    stages: [GPT4O],
    // As tiktoken does, which looks a piece up before it merges; llama.cpp does not.
    ignoreMerges: true,
  },
  { names: ["seed-coder"], stages: [SEED] },
  { names: ["minicpm5"], stages: MINICPM5, ignoreMerges: true },
  { names: ["bloom", "poro-chat", "gpt3-finnish"], stages: [BLOOM], border: BLOOM_BORDER },
  { names: ["viking"], stages: [BLOOM, String.raw`\p{N}`], border: BLOOM_BORDER },
  { names: ["deepseek-llm"], stages: DEEPSEEK_LLM },
  { names: ["deepseek-coder"], stages: DEEPSEEK_CODER },
  { names: ["deepseek-v3", "hunyuan-dense", "joyai-llm"], stages: DEEPSEEK_V3 },
  { names: ["falcon"], stages: FALCON },
  { names: ["jais-2"], stages: [JAIS2] },
  { names: ["laguna"], stages: [String.raw`[^\n]+|\n+`, QWEN2] },
  { names: ["exaone-moe"], stages: [EXAONE_MOE], border: DIGIT_BORDER },
  { names: ["chameleon"], stages: CHAMELEON, addBos: true, border: CHAMELEON_BORDER },
  { names: ["kimi-k2"], stages: [KIMI_K2], ignoreMerges: true },
  { names: ["youtu"], stages: YOUTU, ignoreMerges: true, border: ASCII_BORDER },
  { names: ["superbpe"], stages: SUPERBPE, border: NUMBER_BORDER },
  { names: ["tiny_aya", "cohere2moe"], stages: TINY_AYA, border: TINY_AYA_BORDER },
  { names: ["afmoe"], stages: AFMOE },
];
