// What an index holds and finds, against scores worked out by hand, and its file, against damage of every kind.

import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { IndexFileError } from "../../../../src/context/text/retrieval/index-file.ts";
import { fuse, ranking } from "../../../../src/context/text/retrieval/ranking.ts";
import { TextIndex } from "../../../../src/context/text/retrieval/text-index.ts";
import { createTokenizer } from "../../../../src/engine/tokenizer/tokenizer.ts";
import { UserError } from "../../../../src/errors.ts";
import { FIXTURES, fixtureMetadata } from "../../../engine/tokenizer/vocabularies.ts";
import { LetterEmbedder, letters, WIDTH } from "../../../support/embedder.ts";

const tokenizer = createTokenizer(await fixtureMetadata(FIXTURES[0]!));
const embedder = new LetterEmbedder(tokenizer);

const DOCUMENTS: readonly [source: string, text: string][] = [
  ["cats", "The cat sat on the mat. A cat is a small animal that sleeps all day."],
  ["dogs", "The dog ran after the ball. A dog is an animal that likes to run."],
  ["ships", "Ships sail over the sea. The sea is deep and blue, and it is full of fish."],
];

test("a vector that is no number, or of another width, is refused before anything is added", async () => {
  const broken = new LetterEmbedder(tokenizer);
  const index = new TextIndex(broken);
  for (const vector of [new Float32Array(WIDTH).fill(Number.NaN, 3, 4), new Float32Array(3)]) {
    broken.embed = async () => vector;
    await expect(index.add("cats and dogs", "pets")).rejects.toThrow(/26 finite numbers/);
  }
  expect(index.chunks).toEqual([]);
});

async function indexOf(options = {}) {
  const index = new TextIndex(embedder, options);
  for (const [source, text] of DOCUMENTS) await index.add(text, source);
  return index;
}

describe("windows", () => {
  const text = "Über den Wölken 東京 🙂 the quick brown fox jumps over a lazy dog. ".repeat(4);

  test.each(FIXTURES)(
    "with the tokenizer of %s they hold the whole document, and overlap as asked",
    async (name) => {
      const other = new LetterEmbedder(createTokenizer(await fixtureMetadata(name)));
      const tokens = other.tokenizer.encode(text, { addSpecial: false }).length;
      const index = new TextIndex(other, { size: 24, overlap: 5 });
      await index.add(text, "text");
      const chunks = index.chunks;
      expect(chunks.length).toBe(1 + Math.ceil((tokens - 24) / 19));
      for (const [i, { start, end, text: part }] of chunks.entries()) {
        expect(end - start).toBe(24);
        const isLast = i === chunks.length - 1;
        expect(end).toBe(isLast ? tokens : 24 + 19 * i);
        expect(text).toContain(part.trim());
        expect(part).not.toContain("\ufffd");
      }
      expect(other.embedded).toEqual(chunks.map((chunk) => chunk.text));
      // Side by side, what each adds is the document.
      const whole = new TextIndex(other, { size: 10, overlap: 0 });
      await whole.add(text, "text");
      const last = whole.chunks.at(-1)!;
      const before = whole.chunks
        .slice(0, -1)
        .map((chunk) => chunk.text)
        .join("");
      expect(text.startsWith(before)).toBe(true);
      expect(text.endsWith(last.text)).toBe(true);
      expect(before.length + last.text.length).toBeGreaterThanOrEqual(text.length);
    },
  );

  test("a short document is one window, and what each came from is told", async () => {
    const index = await indexOf();
    expect(index.chunks.map(({ source, text, start }) => [source, text, start])).toEqual(
      DOCUMENTS.map(([source, text]) => [source, text, 0]),
    );
  });

  test("a signal ends it, and nothing of that document is added", async () => {
    const index = await indexOf({ size: 12, overlap: 2 });
    const before = index.chunks.length;
    const controller = new AbortController();
    let count = 0;
    const onWindow = () => {
      if (++count === 2) controller.abort(new Error("enough"));
    };
    const adding = index.add(text, "more", { signal: controller.signal, onWindow });
    await expect(adding).rejects.toThrow("enough");
    expect(count).toBe(2);
    expect(index.chunks.length).toBe(before);
    expect((await index.scores("cat", "hybrid")).length).toBe(before);
  });
});

describe("what is found", () => {
  test("embedding: cosines of all windows, best first", async () => {
    const index = await indexOf({ whiten: false });
    const query = letters("a cat");
    const expected = DOCUMENTS.map(([, text]) =>
      letters(text).reduce((sum, x, i) => sum + x * query[i]!, 0),
    );
    const scores = await index.scores("a cat", "embedding");
    // Sums of 26 products of f32 numbers, here and there.
    for (const [i, score] of scores.entries()) expect(score).toBeCloseTo(expected[i]!, 6);
    const found = await index.retrieve("a cat", { mode: "embedding" });
    expect(found.map(({ score }) => score)).toEqual([...scores].sort((a, b) => b - a));
    expect(found[0]!.source).toBe("cats");
  });

  test("bm25: Okapi's formula over different words; what shares no word is not found", async () => {
    const index = await indexOf();
    const texts = DOCUMENTS.map(([, text]) => text.toLowerCase().match(/[a-z]+/g)!);
    const lengths = texts.map((words) => new Set(words).size);
    const mean = lengths.reduce((a, b) => a + b) / 3;
    const bm25 = (query: string[]) =>
      texts.map((words, i) =>
        query.reduce((sum, term) => {
          const n = texts.filter((other) => other.includes(term)).length;
          const f = words.filter((word) => word === term).length;
          if (f === 0) return sum;
          const idf = Math.log(1 + (3 - n + 0.5) / (n + 0.5));
          return sum + (idf * f * 2.2) / (f + 1.2 * (0.25 + (0.75 * lengths[i]!) / mean));
        }, 0),
      );
    for (const query of ["cat", "an animal that runs", "the deep sea and the dog"]) {
      const scores = await index.scores(query, "bm25");
      const expected = bm25(query.split(" "));
      for (const [i, score] of scores.entries()) expect(score).toBeCloseTo(expected[i]!, 10);
    }
    expect((await index.retrieve("cat", { mode: "bm25" })).map(({ source }) => source)).toEqual([
      "cats",
    ]);
    expect(await index.retrieve("zebra", { mode: "bm25" })).toEqual([]);
    await index.add("A zebra.", "zoo"); // words of documents that are added later count, too
    expect((await index.retrieve("zebra", { mode: "bm25" })).map(({ source }) => source)).toEqual([
      "zoo",
    ]);
  });

  test("hybrid: both, in standard deviations from their means, added", async () => {
    const index = await indexOf();
    const query = "the dog at sea";
    const [byMeaning, byWords] = [
      await index.scores(query, "embedding"),
      await index.scores(query, "bm25"),
    ];
    const standard = (scores: Float64Array, i: number) => {
      const mean = (scores[0]! + scores[1]! + scores[2]!) / 3;
      const squares =
        (scores[0]! - mean) ** 2 + (scores[1]! - mean) ** 2 + (scores[2]! - mean) ** 2;
      return (scores[i]! - mean) / Math.sqrt(squares / 3);
    };
    const scores = await index.scores(query, "hybrid");
    for (const [i, score] of scores.entries()) {
      expect(score).toBeCloseTo(standard(byMeaning, i) + standard(byWords, i), 12);
    }
    // Where no word is shared, meaning decides alone.
    const alone = await index.retrieve("xyz", { mode: "hybrid" });
    const meaning = await index.retrieve("xyz", { mode: "embedding" });
    expect(alone.map(({ source }) => source)).toEqual(meaning.map(({ source }) => source));
  });

  test("one window is found, whatever is asked", async () => {
    const index = new TextIndex(embedder);
    await index.add("The sea is blue.", "sea");
    for (const mode of ["embedding", "hybrid"] as const) {
      const [found, ...more] = await index.retrieve("something else", { mode });
      expect(more).toEqual([]);
      expect(found).toMatchObject({ source: "sea", score: expect.any(Number) });
      expect(found!.score).not.toBeNaN();
    }
  });

  test("k is the most; equal scores keep the order of the windows", async () => {
    const index = await indexOf();
    for (const k of [1, 2, 3, 9]) {
      const found = await index.retrieve("the sea", { k, mode: "hybrid" });
      expect(found.length).toBe(Math.min(k, 3));
    }
    expect(ranking(Float64Array.of(1, 3, 2, 3, 1))).toEqual([1, 3, 2, 0, 4]);
    const fused = fuse([Float64Array.of(1, 3), Float64Array.of(5, 5)]);
    expect([...fused]).toEqual([-1, 1]); // what is all equal decides nothing
  });
});

describe("mistakes are one line each", () => {
  const refused: [string, () => unknown, RegExp][] = [
    [
      "windows that overlap by all",
      () => new TextIndex(embedder, { size: 8, overlap: 8 }),
      /Windows of 8 tokens cannot overlap by 8/,
    ],
    ["no window", () => new TextIndex(embedder, { size: 0 }), /Invalid size 0/],
    ["half a token", () => new TextIndex(embedder, { size: 8.5 }), /Invalid size 8.5/],
    [
      "windows beyond the context",
      () => new TextIndex(embedder, { size: 512 }),
      /exceed the context of 512: expected at most 496/,
    ],
    [
      "a layer beyond the last",
      () => new TextIndex(embedder, { layer: 4 }),
      /Invalid layer 4: expected a whole number from 0 to 3/,
    ],
    [
      "an empty document",
      () => new TextIndex(embedder).add(" \n", "a.txt"),
      /Nothing to index: a\.txt has no text/,
    ],
    ["an empty question", async () => (await indexOf()).retrieve(" "), /The question is empty/],
    ["no windows wanted", async () => (await indexOf()).retrieve("a", { k: 0 }), /Invalid k 0/],
    [
      "a mode that is none",
      async () => (await indexOf()).retrieve("a", { mode: "best" as "bm25" }),
      /Invalid mode "best": expected one of embedding, bm25, hybrid/,
    ],
  ];
  test.each(refused)("%s", async (_, act, message) => {
    const acting = (async () => act())();
    await expect(acting).rejects.toThrow(UserError);
    await expect(acting).rejects.toThrow(message);
  });
});

describe("the file", () => {
  let bytes: Uint8Array;
  let index: TextIndex;
  beforeAll(async () => {
    index = await indexOf({ size: 12, overlap: 3, pooling: "last", layer: 2 });
    bytes = await index.save();
  });

  test("what is read back finds the same, and goes on growing", async () => {
    const again = await TextIndex.load(bytes, embedder);
    const setting = { size: 12, overlap: 3, pooling: "last", layer: 2, whiten: true };
    expect(again.setting).toEqual(setting);
    expect(again.chunks).toEqual(index.chunks);
    for (const mode of ["embedding", "bm25", "hybrid"] as const) {
      expect(await again.retrieve("a dog that runs", { mode })).toEqual(
        await index.retrieve("a dog that runs", { mode }),
      );
    }
    expect(await again.save()).toEqual(bytes);
    await again.add("A zebra in the zoo.", "zoo");
    const [best] = await again.retrieve("zebra zoo", { k: 1 });
    expect(best!.source).toBe("zoo");
    expect((await TextIndex.load(await again.save(), embedder)).chunks).toEqual(again.chunks);
  });

  test("an index without documents is one, too; bytes may lie anywhere in a buffer", async () => {
    const empty = await TextIndex.load(await new TextIndex(embedder).save(), embedder);
    expect(empty.chunks).toEqual([]);
    expect(await empty.retrieve("anything")).toEqual([]);
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    // A Buffer's methods differ from those of the arrays that it is one of.
    for (const given of [shifted.subarray(3), Buffer.from(bytes), Buffer.from(shifted.buffer, 3)]) {
      const loaded = await TextIndex.load(given, embedder);
      const scores = await loaded.scores("a dog", "embedding");
      expect(scores).toEqual(await index.scores("a dog", "embedding"));
    }
  });

  const damage = fc.oneof(
    fc.record({ kind: fc.constant("flip"), at: fc.nat(), bits: fc.integer({ min: 1, max: 255 }) }),
    fc.record({ kind: fc.constant("cut"), at: fc.nat(), bits: fc.constant(0) }),
    fc.record({
      kind: fc.constant("grow"),
      at: fc.nat({ max: 40 }),
      bits: fc.integer({ min: 0, max: 255 }),
    }),
  );
  const damaged = ({ kind, at, bits }: { kind: string; at: number; bits: number }) => {
    if (kind === "cut") return bytes.slice(0, at % bytes.length);
    if (kind === "grow") return Uint8Array.from([...bytes, ...Array(at + 1).fill(bits)]);
    const copy = bytes.slice();
    copy[at % bytes.length]! ^= bits;
    return copy;
  };

  test("no damage loads: it is told in one line", async () => {
    await fc.assert(
      fc.asyncProperty(damage, async (what) => {
        const loading = TextIndex.load(damaged(what), embedder);
        await expect(loading).rejects.toThrow(IndexFileError);
        await expect(loading).rejects.toThrow(
          /^(Not an index|The index (is damaged|has version)).*\.$/,
        );
      }),
      { numRuns: 500 },
    );
  });

  /** The bytes with a checksum that is right again: what somebody who means harm would write. */
  const signed = async (changed: Uint8Array) => {
    const end = changed.length - 32;
    const digest = await crypto.subtle.digest("SHA-256", changed.slice(0, end));
    changed.set(new Uint8Array(digest), end);
    return changed;
  };

  test("with a right checksum, too, nothing of a wrong form loads", async () => {
    let loaded = 0;
    await fc.assert(
      fc.asyncProperty(damage, async (what) => {
        const changed = damaged(what);
        if (changed.length < 32) return;
        try {
          const { chunks } = await TextIndex.load(await signed(changed), embedder);
          loaded++; // another letter in a text, another number in a vector
          for (const { text, source, start, end } of chunks) {
            expect([typeof text, typeof source, typeof start, typeof end]).toEqual([
              "string",
              "string",
              "number",
              "number",
            ]);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }),
      { numRuns: 500 },
    );
    expect(loaded).toBeGreaterThan(0);
  });

  const jsonAt = 16;
  const jsonBytes = () => new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, true);
  const withNumber = (at: number, value: number) => {
    const changed = bytes.slice();
    new DataView(changed.buffer).setUint32(at, value, true);
    return changed;
  };
  /** The header changed, as long as it was. */
  const withHeader = (from: string, to: string) => {
    const header = new TextDecoder().decode(bytes.subarray(jsonAt, jsonAt + jsonBytes()));
    expect(header).toContain(from);
    const changed = bytes.slice();
    const padded = header.replace(from, to).padEnd(header.length).slice(0, header.length);
    changed.set(new TextEncoder().encode(padded), jsonAt);
    return changed;
  };
  const lies: [string, () => Uint8Array, RegExp][] = [
    [
      "a text file",
      () => new TextEncoder().encode("Once upon a time"),
      /^Not an index: it does not begin with "DAWNINDX"/,
    ],
    ["an empty file", () => new Uint8Array(), /^Not an index/],
    ["a version to come", () => withNumber(8, 2), /The index has version 2; version 1 can be read/],
    [
      "a header of four gigabytes",
      () => withNumber(12, 0xffffffff),
      /its header claims 4294967295 of \d+ bytes/,
    ],
    ["no header", () => withNumber(12, 0), /its header is not that of an index/],
    ["a header that is no JSON", () => withHeader("{", "["), /its header is not/],
    ["a header that is null", () => withHeader("{", "null"), /its header is not/],
    [
      "a width of another kind",
      () => withHeader(`"width":${WIDTH}`, '"width":""'),
      /its header is not/,
    ],
    [
      "a width too large",
      () => withHeader(`"width":${WIDTH}`, '"width":99'),
      /vectors of 99 numbers are not \d+ bytes/,
    ],
    [
      "a width beyond counting",
      () => withHeader('"letters","width":26', '"l","width":9007199254740991'),
      /vectors of 9007199254740991 numbers|header/,
    ],
    [
      "windows that never end",
      () => withHeader('"size":12,"overlap":3', '"size":3,"overlap":12'),
      /its header is not/,
    ],
    [
      "a whitening of no kind",
      () => withHeader('"whiten":true', '"whiten":1'),
      /its header is not/,
    ],
    ["a pooling of no kind", () => withHeader('"last"', '"most"'), /its header is not/],
    [
      "a text that is a number",
      () => withHeader('"source":"cats"', '"source":123456'),
      /its header is not/,
    ],
    [
      "a place before the beginning",
      () => withHeader('"start":0', '"start":-1'),
      /its header is not/,
    ],
    [
      "a vector of no numbers",
      () => withNumber(bytes.length - 32 - 8, 0x7fc00000),
      /a vector holds what is no number/,
    ],
  ];
  test.each(lies)("%s is refused with a right checksum", async (_, make, message) => {
    const changed = make();
    const loading = TextIndex.load(changed.length < 32 ? changed : await signed(changed), embedder);
    await expect(loading).rejects.toThrow(IndexFileError);
    await expect(loading).rejects.toThrow(message);
  });

  test("the index of another model is refused, whichever way it differs", async () => {
    const retrained = new LetterEmbedder(tokenizer);
    retrained.fingerprint = async () => "letters-2";
    const loading = TextIndex.load(bytes, retrained);
    await expect(loading).rejects.toThrow(IndexFileError);
    await expect(loading).rejects.toThrow(
      /made with another model, other weights of it, .*\(letters, 26 wide\) than this \(letters, 26 wide\)/,
    );
  });
});
