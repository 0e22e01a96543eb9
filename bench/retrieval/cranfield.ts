// The Cranfield collection: 1,400 abstracts on aeronautics, 225 questions, and who judged what to answer which.
// Cleverdon, The Cranfield tests on index language devices, 1967; as kept at ir.dcs.gla.ac.uk/resources/test_collections/cran.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../../src/errors.ts";
import type { Gains } from "./metrics.ts";

export interface Collection {
  /** Number and text of the abstracts; two of them have no text and are left out. */
  readonly documents: readonly { readonly id: number; readonly text: string }[];
  readonly questions: readonly { readonly text: string; readonly gains: Gains }[];
}

const FILES = ["cran.all.1400", "cran.qry", "cranqrel"] as const;

/** Reads the three files of a folder; throws a `UserError` that says which is missing. */
export function readCranfield(folder: string): Collection {
  const missing = FILES.filter((name) => !existsSync(join(folder, name)));
  if (missing.length > 0) {
    throw new UserError(
      `NOT MEASURED: ${folder} lacks ${missing.join(", ")}. Give the folder of the Cranfield collection with --data DIR ` +
        "(http://ir.dcs.gla.ac.uk/resources/test_collections/cran/).",
    );
  }
  const [all, questions, judgements] = FILES.map((name) =>
    readFileSync(join(folder, name), "utf8"),
  );
  return parseCranfield(all!, questions!, judgements!);
}

export function parseCranfield(all: string, questions: string, judgements: string): Collection {
  const gains = readJudgements(judgements);
  return {
    documents: records(all).filter(({ text }) => text !== ""),
    // Judgements count the questions as they stand, 1, 2, 3, ...: their own numbers have gaps.
    questions: records(questions).map(({ text }, i) => ({
      text,
      gains: gains.get(i + 1) ?? new Map(),
    })),
  };
}

/** The number behind .I and the text behind .W of each record. */
function records(file: string): { id: number; text: string }[] {
  return file
    .split(/^\.I /m)
    .slice(1)
    .map((record) => {
      const text = record.split(/^\.W$/m)[1] ?? "";
      return { id: Number.parseInt(record, 10), text: text.replace(/\s+/g, " ").trim() };
    });
}

/**
 * Lines of "question document code". The readme's codes go down from 1, a complete answer, to 4, of minimum interest: gains
 * are 4, 3, 2, 1. The one document of each question with code -1, which the readme does not explain, gains nothing, as in
 * MeTA's and trec_eval's reading.
 */
function readJudgements(file: string): Map<number, Map<number, number>> {
  const all = new Map<number, Map<number, number>>();
  for (const line of file.trim().split("\n")) {
    const [question, document, code] = line.trim().split(/\s+/).map(Number) as [
      number,
      number,
      number,
    ];
    const gains = all.get(question) ?? new Map<number, number>();
    if (code > 0) gains.set(document, 5 - code);
    all.set(question, gains);
  }
  return all;
}
