// Every command, every flag of the engine: it reaches the engine, which refuses a wrong value; or it is seen at work, if no
// value is wrong; or it is refused by name.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Command, Option } from "commander";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { program } from "../../src/cli/program.ts";
import { CachePages } from "../../src/context/cache/cache-pages.ts";
import { UserError } from "../../src/errors.ts";
import { temporaryFolder } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";

const folder = temporaryFolder();
writeFileSync(join(folder, "tale.txt"), "Once upon a time there was a cat. It sat on a mat.");
const stories = fileURLToPath(new URL("../fixtures/text/stories.txt", import.meta.url));

/** What each command needs beside its flags; a new command that runs a model has to be named. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  generate: ["Once"],
  chat: [],
  inspect: [],
  perplexity: [stories, "--chunks", "1"],
  "bench decode": [],
  "bench prefill": [],
  "bench serve": [],
  "bench cache": ["--tokens", "8"],
  rope: [stories, "--lengths", "64", "--chunks", "1", "--trials", "0", "--keep", folder],
  stream: [stories, "--tokens", "40"],
  attention: ["Once upon a time"],
  cache: ["Once", "Once upon a time"],
  summarize: [stories, "--budget", "20"],
  embed: ["Once upon a time"],
  index: [join(folder, "tale.txt"), "--out", join(folder, "other.index")],
  ask: ["Who?", "--index", join(folder, "tale.index")],
};

/** A value that commander reads and the engine refuses (of a model with heads 8 wide), and what it says. */
const PROBES: Readonly<Record<string, [args: readonly string[], says: RegExp]>> = {
  context: [["--context", "0"], /context 0/],
  whenFull: [["--when-full", "slide:999999999"], /999999999/],
  rope: [["--rope", "dynamic-ntk:2", "--keys", "rotated"], /dynamic-ntk moves/],
  ropeFreqBase: [["--rope-freq-base", "0"], /0: expected a number from 1/],
  ropeFreqScale: [["--rope-freq-scale", "0"], /0: expected a number from/],
  kv: [["--kv", "q4_0"], /heads of a multiple of 32/],
  page: [["--page", "0"], /0: expected a whole number from 1 to 1024/],
  chunk: [["--chunk", "0"], /chunk 0/],
  sequences: [["--sequences", "0"], /sequences 0: expected a whole number from 1/],
  cacheTokens: [["--cache-tokens", "0"], /0: expected a whole number from 1/],
  maxWaiting: [["--max-waiting=-1"], /-1: expected a whole number from 0/],
};
/** Narrower than any of the contexts, and wide enough for what a command asks the model. */
const WINDOW = "window:200";

/** Of these no value is wrong: given all at once, each is seen in what a run does. */
const EFFECTS: Readonly<Record<string, readonly string[]>> = {
  attention: ["--attention", WINDOW],
  keys: ["--keys", "raw"],
  profile: ["--profile"],
};

/** What makes the run a short one, in place of what is needed. */
const SHORT: Readonly<Record<string, readonly string[]>> = {
  generate: ["Once", "--max-tokens", "4"],
  chat: ["--max-tokens", "4"],
  "bench decode": ["--at", "8", "--tokens", "1"],
  "bench prefill": ["--at", "8", "--rounds", "1"],
  "bench serve": ["--requests", "2", "--prompts", "2..4", "--answers", "3..4"],
  summarize: [join(folder, "tale.txt"), "--budget", "8"],
  ask: ["Who?", "--index", join(folder, "windowed.index"), "--max-tokens", "4"],
};

const runs: readonly (readonly [name: string, command: Command])[] = program.commands
  .flatMap((command) => (command.commands.length > 0 ? command.commands : [command]))
  .filter((command) => command.options.some(({ long }) => long === "--keys"))
  .map((command) => {
    const { parent } = command;
    return [parent === program ? command.name() : `${parent?.name()} ${command.name()}`, command];
  });

const said: string[] = [];
beforeEach(() => {
  said.length = 0;
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, "write").mockImplementation((text, ...more: unknown[]) => {
      said.push(String(text));
      const done = more.at(-1);
      if (typeof done === "function") done();
      return true;
    });
  }
});
afterEach(() => vi.restoreAllMocks());

function run(name: string, args: readonly string[], needed = NEEDED[name]!): Promise<unknown> {
  const model = fixtureModel("stories260K-F32.gguf");
  return program.parseAsync([...name.split(" "), ...needed, "--model", model, ...args], {
    from: "user",
  });
}

beforeAll(async () => {
  await run("index", ["--out", join(folder, "tale.index")]);
  await run("index", ["--out", join(folder, "windowed.index"), "--attention", WINDOW]);
});

const isDecided = (option: Option) => option.hidden;

test("every command that runs a model is known here", () => {
  expect(runs.map(([name]) => name).sort()).toEqual(Object.keys(NEEDED).sort());
});

describe.each(runs)("%s", (name, command) => {
  const known = [...Object.keys(PROBES), ...Object.keys(EFFECTS)];
  const options = command.options.filter((option) => known.includes(option.attributeName()));

  test("has every flag of the engine", () => {
    expect(options.map((option) => option.attributeName()).sort()).toEqual(known.sort());
  });

  test.each(options.filter(isDecided).map((option) => [option.long!, option] as const))(
    "%s is refused by name, and is not in its help",
    async (long, option) => {
      const flag = option.attributeName();
      const args = PROBES[flag]?.[0] ?? EFFECTS[flag]!;
      const failure = run(name, args);
      await expect(failure).rejects.toThrow(UserError);
      await expect(failure).rejects.toThrow(`${long} does nothing here: `);
      expect(command.helpInformation()).not.toContain(` ${long} `);
    },
  );

  const probed = options.filter(
    (option) => !isDecided(option) && PROBES[option.attributeName()] !== undefined,
  );
  test.each(probed.map((option) => [option.long!, option.attributeName()] as const))(
    "%s reaches the engine",
    async (_, flag) => {
      const [args, says] = PROBES[flag]!;
      await expect(run(name, args)).rejects.toThrow(says);
    },
  );

  const seen = options.filter(
    (option) => !isDecided(option) && EFFECTS[option.attributeName()] !== undefined,
  );
  test(`${seen.map(({ long }) => long).join(", ")}: seen at work`, async () => {
    const flags = seen.map((option) => option.attributeName());
    const windows: number[] = [];
    const { sequence } = CachePages.prototype;
    vi.spyOn(CachePages.prototype, "sequence").mockImplementation(function (
      this: CachePages,
      policy,
    ) {
      windows.push((policy ?? this.policy).window);
      return sequence.call(this, policy);
    });
    vi.spyOn(process, "stdin", "get").mockReturnValue(Readable.from(["Hello\n"]) as never);
    if (name === "inspect") {
      const plain = await outputOf(name, []);
      for (const flag of flags) expect(await outputOf(name, EFFECTS[flag]!)).not.toBe(plain);
      return;
    }
    const output = await outputOf(
      name,
      flags.flatMap((flag) => EFFECTS[flag]!),
    );
    // Every text of the command is under the policy, and none under one of the command's own.
    if (flags.includes("attention")) expect([...new Set(windows)]).toEqual([200]);
    // The engine's tables name the kernels, which read keys that are not rotated.
    if (flags.includes("profile")) expect(output).toMatch(/ +dispatches +ms a step +share\n/);
    expect(output).toMatch(/^attention\S*\.raw\./m);
  });
});

/** All that a short run prints. */
async function outputOf(name: string, args: readonly string[]): Promise<string> {
  const from = said.length;
  await run(name, args, SHORT[name]);
  return said.slice(from).join("");
}
