// Prints the source files of a checkout that a token passes on its way from the prompt: those in
// which a function runs during one greedy generation, and of them those in which one runs between
// two later tokens. What runs only when a module or the model is loaded, or a kernel is first asked
// for, does not count: the same text is generated once before.
// usage: node --import tsx token-path.mjs ROOT
import { Session } from "node:inspector/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const source = pathToFileURL(resolve(process.argv[2], "src")).href;
const { Engine, SHIPPED_MODEL } = await import(`${source}/index.ts`);
const engine = await Engine.load(SHIPPED_MODEL, { context: 256 });
/** Generates; `onToken` is told after each piece how many there have been, and waited for. */
const generate = async (onToken) => {
  let text = "";
  let tokens = 0;
  const pieces = engine.generate("Once upon a time", { maxTokens: 8, temperature: 0 });
  for await (const piece of pieces) {
    text += piece.text;
    await onToken(++tokens);
  }
  return text;
};

const session = new Session();
session.connect();
await session.post("Profiler.enable");

/** Files in which a function has run since the last call. */
async function filesRun() {
  const { result } = await session.post("Profiler.takePreciseCoverage");
  return result
    .filter(({ url }) => url.startsWith(`${source}/`))
    .filter(({ functions }) => functions.some(({ ranges }) => ranges[0].count > 0))
    .map(({ url }) => url.slice(source.length + 1).replace(/\?.*$/, ""));
}

try {
  const before = await generate(() => {});
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  const all = new Set();
  const later = new Set();
  const text = await generate(async (tokens) => {
    for (const file of await filesRun()) {
      all.add(file);
      if (tokens > 2) later.add(file);
    }
  });
  for (const file of await filesRun()) all.add(file);
  if (text === "" || text !== before) throw new Error(`generated "${text}" after "${before}"`);
  console.log(JSON.stringify({ all: [...all].sort(), later: [...later].sort() }));
} finally {
  session.disconnect();
  await engine.close();
}
