// npm run bench -- NAME [OPTIONS]: each bench states its question at the top of its file.

const BENCHES = {
  decode: {
    about: "tokens per second against llama.cpp on the same adapter  [--install-peers] [--save]",
    load: () => import("./decode.ts"),
  },
  prefill: {
    about:
      "a prompt of 128 tokens against llama.cpp on the same adapter  [--install-peers] [--save]",
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
  host: {
    about: "host time per token, on the real adapter and on Dawn's null backend  [--save]",
    load: () => import("./host.ts"),
  },
} as const;

const [name, ...args] = process.argv.slice(2);
const bench = Object.hasOwn(BENCHES, name ?? "")
  ? BENCHES[name as keyof typeof BENCHES]
  : undefined;
if (bench) {
  const { main } = await bench.load();
  await main(args);
} else {
  const lines = Object.entries(BENCHES).map(([id, { about }]) => `  ${id.padEnd(9)} ${about}`);
  const usage = ["usage: npm run bench -- NAME [--json] [OPTIONS]", ...lines].join("\n");
  if (name === undefined || name === "--help") console.log(usage);
  else console.error(usage);
  process.exitCode = name === undefined || name === "--help" ? 0 : 2;
}
