// Where does each token look? The attention weights of a layer, out of the cache as it is while a
// text streams through: sinks, window, and what has been evicted.

import { InvalidArgumentError } from "commander";
import type { Engine } from "../../engine/engine.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { UserError } from "../../errors.ts";
import {
  type AttentionMap,
  attentionMap,
  favourites,
  firstTokens,
  headLooks,
  NEAR,
  pairs,
} from "../../laboratory/experiments/attention.ts";
import { whole } from "../../option-reader.ts";
import { drawAttention } from "../reports/attention-map.ts";
import { table } from "../reports/table.ts";
import { Command } from "../terminal/command.ts";
import {
  addEngineFlags,
  type EngineFlags,
  engineOptions,
  integer,
  ONE_TEXT,
  outputFile,
  pictureFile,
} from "../terminal/flags.ts";
import { givenText, writeCsv } from "../terminal/input.ts";
import {
  interruptSignal,
  withEngine,
  withProgress,
  write,
  writeJson,
} from "../terminal/terminal.ts";

/** Tokens that the table of the most attended names. */
const FAVOURITES = 8;

interface Flags extends EngineFlags {
  readonly file?: string;
  readonly tokens: number;
  readonly layer?: number;
  readonly heads?: readonly number[];
  readonly json?: boolean;
  readonly csv?: string;
  readonly plot?: string;
}

/** `dawnstream attention` */
export function attentionCommand(): Command {
  const command = new Command("attention")
    .description("show where the tokens of a text look: the attention weights of a layer")
    .example('dawnstream attention "Once upon a time there was a cat." --layer 2 --plot map.svg')
    .argument("[text]", "the text; - is stdin, as is a pipe without it")
    .option("-f, --file <file>", "take the text from a file")
    .option("--tokens <n>", "its first tokens, at most", integer, 256)
    .option("--layer <n>", "0 is the first (default: the middle one)", integer)
    .option(
      "--heads <list>",
      "such as 0,3; figures for each, a picture of their mean (default: all)",
      readHeads,
    )
    .option("--json", "print one object")
    .option("--csv <file>", "write query, key, state and mean weight of every pair", outputFile)
    .option("--plot <file>", "draw the map: .svg or .png", pictureFile);
  return addEngineFlags(command, ONE_TEXT).action(run);
}

async function run(given: string | undefined, flags: Flags): Promise<void> {
  const most = whole(1, 2 ** 20)(flags.tokens, "--tokens");
  const text = await givenText(given, flags.file);
  // Token by token, as a stream would have it: every eviction is where it happens.
  const options = {
    ...engineOptions(flags),
    context: flags.context ?? most,
    chunk: flags.chunk ?? 1,
  };
  let wanted: { ids: number[]; layer: number; heads: number[] } | undefined;
  await withEngine(
    flags.model,
    options,
    (model) => {
      wanted = whatToShow(model, text, flags);
    },
    (engine) => show(engine, wanted!, flags),
  );
}

/** The tokens, the layer and the heads that were asked for, checked against the model. */
function whatToShow({ config, tokenizer }: OpenedModel, text: string, flags: Flags) {
  const ids = tokenizer.encode(text).slice(0, flags.tokens);
  if (ids.length < 2) throw new UserError("The text has too few tokens: at least 2 are needed.");
  const layer = whole(0, config.layers - 1)(flags.layer ?? config.layers >> 1, "--layer");
  const heads = flags.heads ?? Array.from({ length: config.heads }, (_, i) => i);
  for (const head of heads) whole(0, config.heads - 1)(head, "--heads");
  return { ids, layer, heads: [...heads] };
}

async function show(
  engine: Engine,
  { ids, layer, heads }: { ids: number[]; layer: number; heads: number[] },
  flags: Flags,
): Promise<void> {
  const signal = interruptSignal();
  const map = await withProgress("reading", "tokens", (onProgress) =>
    attentionMap(engine, ids, { layer, heads }, { onProgress, signal }),
  );
  if (signal.aborted) process.exitCode = 130; // what there is so far is shown
  const pieces = ids.slice(0, map.rows.length).map((id) => engine.tokenizer.vocabulary.text(id));
  const attention = map.policy.name;
  if (flags.json) {
    const rows = map.rows.map(({ query, keys, weights }) => ({
      query,
      keys: [...keys],
      weights: [...weights],
    }));
    await writeJson({
      layer,
      heads,
      attention,
      tokens: ids,
      pieces,
      summary: headLooks(map),
      rows,
    });
  } else await write(`${looksTable(map)}\n${favouritesTable(map, pieces)}`);
  if (flags.csv !== undefined) {
    const rows = [...pairs(map)].map(({ query, key, state, weight }) => [
      query,
      key,
      state,
      weight,
    ]);
    await writeCsv(flags.csv, ["query", "key", "state", "weight"], rows);
  }
  if (flags.plot !== undefined) {
    const which = heads.length === 1 ? `head ${heads[0]}` : `mean of ${heads.length} heads`;
    const model = flags.model.replace(/^.*\//, "");
    await drawAttention(
      flags.plot,
      map,
      `${model}, layer ${layer}, ${which}, ${attention} attention`,
    );
  }
}

/** Where each head looks. */
function looksTable(map: AttentionMap): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const count = firstTokens(map.policy);
  const first = count === 1 ? "first token" : `first ${count}`;
  return table(
    ["head", first, `last ${NEAR}`, "between", "entropy (bits)"],
    headLooks(map).map(({ head, looks }) => [
      head,
      percent(looks.first),
      percent(looks.near),
      percent(looks.between),
      looks.entropy.toFixed(2),
    ]),
  );
}

/** The tokens that get most. */
function favouritesTable(map: AttentionMap, pieces: readonly string[]): string {
  return table(
    [`seen from ${NEAR} tokens on`, "position", "mean weight"],
    favourites(map, FAVOURITES).map(({ key, weight }) => [
      JSON.stringify(pieces[key]),
      key,
      weight.toFixed(3),
    ]),
  );
}

function readHeads(text: string): number[] {
  const heads = text.split(",").map(integer);
  if (new Set(heads).size < heads.length)
    throw new InvalidArgumentError("Expected each head once.");
  return heads;
}
