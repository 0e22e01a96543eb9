// Does this adapter compute what llama.cpp computed? The golden cases of the tests, as far as their models are here: logits
// by their normalised square error, likelihoods by the worst difference. Any that is beyond the tests' tolerances ends
// it with status 1.

import { parseArgs } from "node:util";
import { Engine } from "../src/index.ts";
import { cases, greedy, scoreCase, TOLERANCES } from "../test/support/golden.ts";
import { findModel } from "../test/support/models.ts";
import { machine, printTable, save } from "./report.ts";

/** What came of a case. */
interface Row {
  readonly name: string;
  /** The cells of its cache. */
  readonly kv: "f32" | "f16";
  /** Of logits, and the worst difference of likelihoods; 0 for a text, which is right or not. */
  readonly nmse: number;
  readonly nll: number;
  readonly right: boolean;
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      json: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
    },
  });
  const rows: Row[] = [];
  const keep = (row: Row) => {
    rows.push(row);
    console.error(JSON.stringify(row)); // on an adapter that never comes to the end, what it did before
  };
  let adapter = "";
  for (const { name, golden } of cases.filter(({ golden }) => findModel(golden.model))) {
    for (const kv of ["f32", "f16"] as const) {
      const { score, nmse } = await scoreCase(Engine.load, golden, { kv });
      const nll = Math.max(...score.nll.map((value, i) => Math.abs(value - golden.nll[i]!)));
      const allowed = TOLERANCES[kv];
      keep({ name, kv, nmse, nll, right: nmse <= allowed.nmse && nll <= allowed.nll });
    }
  }
  for (const { model, prompt, promptTokens, tokens } of greedy) {
    const path = findModel(model);
    if (!path) continue;
    await using engine = await Engine.load(path, { kv: "f32", context: 256 });
    adapter = engine.loaded.adapter;
    const result = await engine.complete(promptTokens, {
      temperature: 0,
      maxTokens: tokens.length,
    });
    const right = result.tokens.join() === tokens.join();
    keep({ name: `${model}: ${prompt}`, kv: "f32", nmse: 0, nll: 0, right });
  }
  const wrong = rows.filter(({ right }) => !right);
  const result = { question: "golden", machine: machine(), adapter, rows };
  if (values.save) await save("golden", result);
  if (values.json) console.log(JSON.stringify(result, null, 2));
  else {
    console.log(`Golden cases on ${adapter}`);
    printTable(
      ["NMSE", "worst nll", "pages", "case"],
      rows.map(({ name, kv, nmse, nll, right }) => [
        nmse.toExponential(1),
        nll.toExponential(1),
        kv,
        right ? name : `${name}: WRONG`,
      ]),
    );
    console.log(`${rows.length - wrong.length} right, ${wrong.length} wrong`);
  }
  if (wrong.length > 0) process.exitCode = 1;
}
