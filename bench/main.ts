// npm run bench -- NAME [OPTIONS]: each bench states its question at the top of its file. A user's mistake is one line.

import { UserError } from "../src/errors.ts";

const BENCHES = {
  decode: {
    about:
      "tokens per second against llama.cpp on the same adapter  [--model FILE] [--prompt TOKENS] [--engines vulkan,cpu] [--rounds N] [--install-peers] [--save]",
    load: () => import("./decode.ts"),
  },
  prefill: {
    about:
      "a prompt against llama.cpp on the same adapter  [--model FILE] [--prompt TOKENS] [--engines vulkan,cpu] [--rounds N] [--install-peers] [--save]",
    load: () => import("./prefill.ts"),
  },
  load: {
    about: "loading from a warm file: MB/s and peak memory  [--shape 134m|1b|8b] [--save]",
    load: () => import("./load.ts"),
  },
  golden: {
    about: "whether this adapter computes what llama.cpp computed  [--save]",
    load: () => import("./golden.ts"),
  },
  lesson: {
    about:
      "what each idea in matvec*.wgsl brings: docs/matvec.md  [--shape N,K] [--time MS] [--save]",
    load: () => import("./lesson.ts"),
  },
  retrieval: {
    about:
      "nDCG and recall on Cranfield: embeddings, BM25, both  [--data DIR] [--ways mean:0,last:5] [--save]",
    load: () => import("./retrieval.ts"),
  },
  prefixes: {
    about:
      "what shared prompts and saved sessions save  [--model FILE] [--prompt TOKENS] [--requests N] [--turns N] [--save]",
    load: () => import("./prefixes.ts"),
  },
  host: {
    about: "host time per token, on the real adapter and on Dawn's null backend  [--save]",
    load: () => import("./host.ts"),
  },
  statistics: {
    about:
      "what a driver's compiler makes of a large model's kernels  [--shape 1b|8b] [--workgroups N] [--kv TYPE] [--save FILE]",
    load: () => import("./kernel-statistics.ts"),
  },
} as const;

const [name, ...args] = process.argv.slice(2);
const bench = Object.hasOwn(BENCHES, name ?? "")
  ? BENCHES[name as keyof typeof BENCHES]
  : undefined;
const isHelp = (word: string) => word === "--help" || word === "-h";
if (bench && args.some(isHelp)) {
  console.log(`usage: npm run bench -- ${name} [--json] [OPTIONS]\n  ${bench.about}`);
} else if (bench) {
  const { main } = await bench.load();
  try {
    await main(args);
  } catch (error) {
    if (!isMistake(error)) throw error;
    console.error(
      `error: ${error.message.replaceAll(/\s*\n\s*/g, " ")} See: npm run bench -- ${name} --help`,
    );
    process.exitCode = 2;
  }
} else {
  const lines = Object.entries(BENCHES).map(([id, { about }]) => `  ${id.padEnd(10)} ${about}`);
  const usage = ["usage: npm run bench -- NAME [--json] [OPTIONS]", ...lines].join("\n");
  if (name === undefined || isHelp(name)) console.log(usage);
  else {
    const names = Object.keys(BENCHES).join(", ");
    console.error(`error: There is no bench "${name}": expected one of ${names}.`);
    process.exitCode = 2;
  }
}

/** What a user typed, as we or `parseArgs` say. */
function isMistake(error: unknown): error is Error {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return error instanceof UserError || code?.startsWith("ERR_PARSE_ARGS") === true;
}
