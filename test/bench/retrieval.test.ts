// The measures of a ranking against cases worked out by hand, and the collection against what is known of it.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parseCranfield, readCranfield } from "../../bench/retrieval/cranfield.ts";
import { ndcg, recall } from "../../bench/retrieval/metrics.ts";
import { UserError } from "../../src/errors.ts";
import { warnNotRun } from "../support/models.ts";

describe("a ranking of five with three relevant documents", () => {
  const gains = new Map([
    [7, 4],
    [8, 2],
    [9, 1],
  ]);
  const ranked = [8, 1, 7, 2, 3];

  test("nDCG: (2 + 0 + 4 / 2) over (4 + 2/log2(3) + 1/2)", () => {
    expect(ndcg(ranked, gains, 10)).toBeCloseTo(4 / (4 + 2 / Math.log2(3) + 0.5), 12);
    expect(ndcg(ranked, gains, 2)).toBeCloseTo(2 / (4 + 2 / Math.log2(3)), 12);
    expect(ndcg([7, 8, 9], gains, 10)).toBe(1);
    expect(ndcg([1, 2, 3], gains, 10)).toBe(0);
    expect(ndcg(ranked, new Map(), 10)).toBe(0);
  });

  test("recall: two of three among the first five, one among the first two", () => {
    expect(recall(ranked, gains, 10)).toBeCloseTo(2 / 3, 12);
    expect(recall(ranked, gains, 2)).toBeCloseTo(1 / 3, 12);
    expect(recall(ranked, new Map(), 10)).toBe(0);
  });
});

test("records, and judgements by the place of a question, not its number", () => {
  const all =
    ".I 1\n.T\na title\n.A\nan author\n.B\na journal\n.W\nfirst\ntext .\n.I 2\n.T\n.A\n.B\n.W\n";
  const { documents, questions } = parseCranfield(
    all,
    ".I 001\n.W\nwhat is\nfirst .\n.I 004\n.W\nwhat is second .\n",
    "1 1 1 \n1 5 -1\n2 1 4\n2 3 2\n",
  );
  expect(documents).toEqual([{ id: 1, text: "first text ." }]);
  expect(questions.map(({ text }) => text)).toEqual(["what is first .", "what is second ."]);
  expect(questions.map(({ gains }) => [...gains])).toEqual([
    [[1, 4]],
    [
      [1, 1],
      [3, 3],
    ],
  ]);
});

test("a folder without the collection is one line that says so", () => {
  expect(() => readCranfield("/nowhere")).toThrow(UserError);
  expect(() => readCranfield("/nowhere")).toThrow(
    /^NOT MEASURED: \/nowhere lacks cran\.all\.1400, cran\.qry, cranqrel/,
  );
});

const folder = fileURLToPath(new URL("../../../shared/fixtures/retrieval/", import.meta.url));
const isThere = existsSync(folder);
warnNotRun("collections", isThere ? [] : ["retrieval (Cranfield)"]);

test.skipIf(!isThere)(
  "all of Cranfield: 1,398 texts, 225 questions, 1,612 judgements by grade",
  () => {
    const { documents, questions } = readCranfield(folder);
    expect(documents.length).toBe(1398);
    expect(questions.length).toBe(225);
    const gains = questions.flatMap((question) => [...question.gains.values()]);
    const counts = [1, 2, 3, 4].map((gain) => gains.filter((value) => value === gain).length);
    expect(counts).toEqual([363, 734, 387, 128]);
  },
);
