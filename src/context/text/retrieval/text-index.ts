// An index of documents, cut into windows and embedded. Finds the windows closest to a question by
// exact search: by cosine, by words (BM25), or by both.
// In this room: finding passages, and the answer prompt around them. Not in it: how a text is cut
// (windows.ts) and embedded (embedder.ts).

import { UserError } from "../../../errors.ts";
import {
  abortSignal,
  callback,
  having,
  invalid,
  isRecord,
  type Readers,
  readOptions,
  text as textReader,
  whole,
  word,
  yesOrNo,
} from "../../../option-reader.ts";
import { type Embedder, POOLINGS } from "../embedder.ts";
import { checkWindows, windows } from "../windows.ts";
import { Bm25 } from "./bm25.ts";
import {
  type Chunk,
  decodeIndex,
  encodeIndex,
  type IndexContents,
  IndexFileError,
  type IndexSetting,
} from "./index-file.ts";
import { cosines, fuse, ranking } from "./ranking.ts";
import { type Whitening, whitening } from "./whitening.ts";

/** How windows are ranked: by cosine of their vectors, BM25 of their words, or both together. */
export type RetrievalMode = "embedding" | "bm25" | "hybrid";

export const RETRIEVAL_MODES: readonly RetrievalMode[] = ["embedding", "bm25", "hybrid"];

export type IndexOptions = { readonly [K in keyof IndexSetting]?: IndexSetting[K] | undefined };

export interface AddOptions {
  /**
   * Aborts between two windows: throws the signal's reason, and nothing of the document is added.
   */
  readonly signal?: AbortSignal | undefined;
  /** Called for each window when it is embedded. */
  readonly onWindow?: ((chunk: Chunk) => void) | undefined;
}

export interface RetrieveOptions {
  /** The most windows to return. Default: 5. */
  readonly k?: number | undefined;
  /** Default: "hybrid". */
  readonly mode?: RetrievalMode | undefined;
}

export const INDEX_READERS = {
  size: whole(1),
  overlap: whole(0),
  pooling: word(POOLINGS),
  layer: whole(0),
  whiten: yesOrNo,
} satisfies Readers<IndexOptions>;

export const ADD_READERS = {
  signal: abortSignal,
  onWindow: callback,
} satisfies Readers<AddOptions>;

const modeReader = word(RETRIEVAL_MODES);

export const RETRIEVE_READERS = {
  k: whole(1),
  mode: modeReader,
} satisfies Readers<RetrieveOptions>;

const embedderReader = having<Embedder>("an engine", "embed", "fingerprint");

export interface ScoredChunk extends Chunk {
  /**
   * A cosine, a BM25 score, or the sum of both in standard deviations: the larger the better,
   * comparable within one mode only.
   */
  readonly score: number;
}

/** Tokens of a window if the context has room for several. */
export const DEFAULT_SIZE = 256;
/** Spare tokens of a window: it gets a BOS, and words that it cuts may take a few tokens more. */
export const WINDOW_MARGIN = 16;
const DEFAULT_K = 5;

export class TextIndex {
  readonly setting: IndexSetting;
  readonly #embedder: Embedder;
  readonly #words = new Bm25();
  readonly #chunks: Chunk[] = [];
  readonly #vectors: Float32Array[] = [];
  /**
   * The vectors for cosines, and the whitening for a question's vector; computed again after
   * windows are added.
   */
  #space: { readonly vectors: readonly Float32Array[]; readonly place: Whitening } | undefined;

  /** An empty index. Throws a `UserError` for invalid options: see `indexSetting`. */
  constructor(embedder: Embedder, options: IndexOptions = {}) {
    this.setting = indexSetting(embedderReader(embedder, "embedder"), options);
    this.#embedder = embedder;
  }

  /**
   * The index of a file that `save` has written with the same model: its bytes, or the result of
   * `decodeIndex`. Throws an `IndexFileError` for any other.
   */
  static async load(file: Uint8Array | IndexContents, embedder: Embedder): Promise<TextIndex> {
    embedderReader(embedder, "embedder");
    if (!(file instanceof Uint8Array) && !isRecord(file)) {
      throw invalid("index", file ?? null, "the bytes of an index, or what decodeIndex gives");
    }
    const contents = file instanceof Uint8Array ? await decodeIndex(file) : file;
    const { model, setting, chunks, vectors } = contents;
    const { name, width } = embedder.config;
    if (model.fingerprint !== (await embedder.fingerprint()) || model.width !== width) {
      throw new IndexFileError(
        `The index was made with another model, other weights of it, or another --rope or --attention (${model.name}, ` +
          `${model.width} wide) than this (${name}, ${width} wide): load what it was made with, or make it again.`,
      );
    }
    const index = new TextIndex(embedder, setting);
    index.#take(chunks, vectors);
    return index;
  }

  /** The windows of all documents, in the order in which they were added. */
  get chunks(): readonly Chunk[] {
    return this.#chunks;
  }

  /**
   * Cuts a document into windows and embeds them; `source` names it in results. Throws a
   * `UserError` if it is empty.
   */
  async add(document: string, source: string, options: AddOptions = {}): Promise<void> {
    const { signal, onWindow } = readOptions("TextIndex.add", options, ADD_READERS);
    textReader(source ?? null, "source");
    if (textReader(document, "document").trim() === "")
      throw new UserError(`Nothing to index: ${source} has no text.`);
    const { size, overlap, pooling, layer } = this.setting;
    const chunks: Chunk[] = [];
    const vectors: Float32Array[] = [];
    for await (const window of windows(document, this.#embedder.tokenizer, { size, overlap })) {
      const { text, start, end } = window;
      vectors.push(this.#checked(await this.#embedder.embed(text, { pooling, layer, signal })));
      chunks.push({ text, source, start, end });
      onWindow?.(chunks.at(-1)!);
    }
    this.#take(chunks, vectors);
  }

  /**
   * Checks that a vector can be compared with others, since a caller may bring its own embedder.
   */
  #checked(vector: Float32Array): Float32Array {
    const { name, width } = this.#embedder.config;
    if (vector.length === width && vector.every(Number.isFinite)) return vector;
    throw new UserError(
      `The embedder ${name} gave a vector that cannot be compared: expected ${width} finite numbers.`,
    );
  }

  #take(chunks: readonly Chunk[], vectors: readonly Float32Array[]): void {
    for (const chunk of chunks) this.#chunks.push(chunk);
    for (const vector of vectors) this.#vectors.push(vector);
    this.#space = undefined;
  }

  #makeSpace() {
    if (!this.setting.whiten) return { vectors: this.#vectors, place: (v: Float32Array) => v };
    const place = whitening(this.#vectors, this.#embedder.config.width);
    return { vectors: this.#vectors.map(place), place };
  }

  /** The score of every window [N] for a query. */
  async scores(query: string, mode: RetrievalMode): Promise<Float64Array> {
    modeReader(mode, "mode");
    if (textReader(query, "query").trim() === "")
      throw new UserError("The question is empty: give some text.");
    if (mode === "embedding") {
      const { pooling, layer } = this.setting;
      const vector = this.#checked(await this.#embedder.embed(query, { pooling, layer }));
      this.#space ??= this.#makeSpace();
      return cosines(this.#space.place(vector), this.#space.vectors);
    }
    if (mode === "bm25") {
      this.#words.add(this.#chunks);
      return this.#words.scores(query);
    }
    const byMeaning = await this.scores(query, "embedding");
    const byWords = await this.scores(query, "bm25");
    return fuse([byMeaning, byWords]);
  }

  /**
   * The best windows for a query, best first. By words alone they may be fewer than there are: all
   * of them share one.
   */
  async retrieve(query: string, options: RetrieveOptions = {}): Promise<ScoredChunk[]> {
    const read = readOptions("TextIndex.retrieve", options, RETRIEVE_READERS);
    const { k = DEFAULT_K, mode = "hybrid" } = read;
    const scores = await this.scores(query, mode);
    const best = ranking(scores, (i) => mode !== "bm25" || scores[i]! > 0).slice(0, k);
    return best.map((i) => ({ ...this.#chunks[i]!, score: scores[i]! }));
  }

  /** The bytes of a file for `load`. */
  async save(): Promise<Uint8Array> {
    const { name, width } = this.#embedder.config;
    const model = { name, width, fingerprint: await this.#embedder.fingerprint() };
    return encodeIndex({
      model,
      setting: this.setting,
      chunks: this.#chunks,
      vectors: this.#vectors,
    });
  }
}

/**
 * Options resolved for a model. Defaults: windows of 256 tokens, or an eighth of the context if
 * that is less, of which an eighth overlaps; the mean of the middle layer, whose states say more of
 * a text than those of the last, which are about the next token; whitened. Of a model that was made
 * to embed the last layer as its file says, not whitened. Throws a `UserError` for invalid options.
 */
export function indexSetting(
  {
    config: { layers: L, pooling: own },
    setting: { context },
  }: Pick<Embedder, "config" | "setting">,
  given: IndexOptions,
): IndexSetting {
  const options = readOptions("an index", given, INDEX_READERS);
  const isMadeToEmbed = own !== undefined && own !== "none";
  const {
    size = Math.min(DEFAULT_SIZE, Math.ceil(context / 8)),
    overlap = Math.floor(size / 8),
    pooling = isMadeToEmbed ? own : "mean",
    layer = isMadeToEmbed ? L : Math.ceil(L / 2),
    whiten = !isMadeToEmbed,
  } = options;
  checkWindows({ size, overlap });
  whole(0, L)(layer, "layer");
  if (size + WINDOW_MARGIN > context) {
    throw new UserError(
      `Windows of ${size} tokens, tokenized by themselves, may exceed the context of ${context}: expected at most ${context - WINDOW_MARGIN}.`,
    );
  }
  return { size, overlap, pooling, layer, whiten };
}
