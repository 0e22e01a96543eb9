// How well does retrieval find what answers a question? Cranfield's 1,400 abstracts and 225 questions: nDCG@10 and
// recall@10 of the model's embeddings, by layer and pooling, plain and whitened, of BM25, and of both together, by their
// standardised scores and by their ranks. A document's score is that of its best window. What is known elsewhere: Lucene's
// BM25, with stemmed words, has an nDCG@10 of 0.34 to 0.35 by its parameters, with the same judgements and gains.

import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Pooling } from "../src/context/text/embedder.ts";
import { Bm25 } from "../src/context/text/retrieval/bm25.ts";
import { decodeIndex } from "../src/context/text/retrieval/index-file.ts";
import { ranking } from "../src/context/text/retrieval/ranking.ts";
import { type RetrievalMode, TextIndex } from "../src/context/text/retrieval/text-index.ts";
import { Engine, SHIPPED_MODEL, UserError } from "../src/index.ts";
import { machine, printTable, save, wholeNumber } from "./report.ts";
import { type Collection, readCranfield } from "./retrieval/cranfield.ts";
import { ndcg, recall } from "./retrieval/metrics.ts";

const DATA = join(import.meta.dirname, "../../shared/fixtures/retrieval");
const K = 10;

interface Way {
  readonly pooling: Pooling;
  readonly layer: number;
}

interface Quality {
  readonly by: string;
  readonly ndcg10: number;
  readonly recall10: number;
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      data: { type: "string", default: DATA },
      model: { type: "string", default: SHIPPED_MODEL },
      ways: { type: "string" },
      size: { type: "string", default: "256" },
      json: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
    },
  });
  const collection = readCranfield(values.data);
  const size = wholeNumber("--size", values.size, 1, 4096);
  await using engine = await Engine.load(values.model, { chunk: size + 16 });
  const { layers: L, name: model } = engine.config;
  const ways = values.ways?.split(",").map(readWay) ?? [
    { pooling: "mean", layer: 0 },
    { pooling: "mean", layer: Math.ceil(L / 2) },
    { pooling: "mean", layer: L },
    { pooling: "last", layer: L },
  ];
  const rows: Quality[] = [wholeAbstracts(collection)];
  const rates: number[] = [];
  for (const [i, way] of ways.entries()) {
    const { index, tokensPerSecond } = await indexOf(engine, collection, { ...way, size });
    rates.push(tokensPerSecond);
    if (i === 0) rows.push(await qualityOf(index, collection, "bm25, windows", ["bm25"]));
    const { setting, ...contents } = await decodeIndex(await index.save());
    const asTheyAre = { ...contents, setting: { ...setting, whiten: false } };
    const plain = await TextIndex.load(asTheyAre, engine);
    const name = `${way.pooling} of layer ${way.layer}`;
    const measures: [TextIndex, string, Scorer][] = [
      [plain, `embedding, ${name}`, ["embedding"]],
      [index, `embedding, ${name}, whitened`, ["embedding"]],
      [plain, `hybrid, ${name}`, ["hybrid"]],
      [index, `hybrid, ${name}, whitened`, ["hybrid"]],
      [index, `by ranks, ${name}, whitened`, ["embedding", "bm25"]],
    ];
    for (const [of, by, scorer] of measures) rows.push(await qualityOf(of, collection, by, scorer));
  }
  const result = { question: "retrieval", machine: machine(), model, size, ways, rows, rates };
  if (values.save) await save("retrieval", result);
  if (values.json) return void console.log(JSON.stringify(result, null, 2));
  console.log(`Cranfield, windows of ${size} tokens of ${model}, on ${result.machine}`);
  printTable(
    ["ranked by", "nDCG@10", "recall@10"],
    rows.map(({ by, ndcg10, recall10 }) => [by, ndcg10.toFixed(3), recall10.toFixed(3)]),
  );
  const each = ways.map(
    ({ pooling, layer }, i) => `${pooling} of ${layer}: ${rates[i]!.toFixed(0)}`,
  );
  console.log(`tokens embedded per second: ${each.join(", ")}`);
}

/** "mean:0" */
function readWay(text: string): Way {
  const [, pooling, layer] = /^(mean|last):(\d+)$/.exec(text) ?? [];
  if (layer === undefined)
    throw new UserError(`Invalid way "${text}": expected mean:LAYER or last:LAYER.`);
  return { pooling: pooling as Pooling, layer: Number(layer) };
}

async function indexOf(engine: Engine, { documents }: Collection, options: Way & { size: number }) {
  const index = new TextIndex(engine, options);
  const began = performance.now();
  for (const [i, { id, text }] of documents.entries()) {
    await index.add(text, String(id));
    if (i % 100 === 99)
      console.error(`${options.pooling} of layer ${options.layer}: ${i + 1} documents`);
  }
  const tokens = index.chunks.reduce((sum, { start, end }) => sum + end - start, 0);
  return { index, tokensPerSecond: (tokens * 1000) / (performance.now() - began) };
}

/** The library's own way: a document is one text, however long. */
function wholeAbstracts({ documents, questions }: Collection): Quality {
  const words = new Bm25();
  words.add(documents);
  const ranked = questions.map(({ text }) => {
    const scores = words.scores(text);
    return ranking(scores, (i) => scores[i]! > 0).map((i) => documents[i]!.id);
  });
  return { by: "bm25, whole abstracts", ...measured(ranked, questions) };
}

/** One kind of scores, or several whose ranks are fused. */
type Scorer = readonly RetrievalMode[];

async function qualityOf(
  index: TextIndex,
  { questions }: Collection,
  by: string,
  scorer: Scorer,
): Promise<Quality> {
  const ranked: number[][] = [];
  for (const { text } of questions) {
    const kinds = await Promise.all(scorer.map((mode) => index.scores(text, mode)));
    const [scores = new Float64Array()] = kinds.length === 1 ? kinds : [reciprocalRanks(kinds)];
    const isRanked = (i: number) => scorer[0] !== "bm25" || scores[i]! > 0;
    const windows = ranking(scores, isRanked).map((i) => index.chunks[i]!);
    ranked.push([...new Set(windows.map(({ source }) => Number(source)))]);
  }
  return { by, ...measured(ranked, questions) };
}

/** Reciprocal rank fusion, k = 60: Cormack, Clarke and Buettcher, SIGIR 2009, doi:10.1145/1571941.1572114 */
function reciprocalRanks(kinds: readonly Float64Array[]): Float64Array {
  const sums = new Float64Array(kinds[0]!.length);
  for (const scores of kinds) {
    const ranked = ranking(scores, (i) => scores[i] !== 0); // BM25's 0 is no rank
    for (const [i, index] of ranked.entries()) sums[index]! += 1 / (60 + i + 1);
  }
  return sums;
}

/** Means over the questions. */
function measured(ranked: readonly (readonly number[])[], questions: Collection["questions"]) {
  const mean = (measure: typeof ndcg) =>
    questions.reduce((sum, { gains }, i) => sum + measure(ranked[i]!, gains, K), 0) /
    questions.length;
  return { ndcg10: mean(ndcg), recall10: mean(recall) };
}
