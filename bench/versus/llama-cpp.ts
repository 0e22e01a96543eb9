// llama.cpp's side of the benches against other engines, through node-llama-cpp: `vulkan`, or `cpu` with two threads.

import { importPeer } from "../peers.ts";
import { answer } from "../process.ts";
import { checkedText, contextOf, type Request, timeTokens } from "./protocol.ts";

/** As much of node-llama-cpp 3.22 as is used here. */
interface NodeLlamaCpp {
  getLlama(options: object): Promise<{
    readonly gpu: string | false;
    getGpuDeviceNames(): Promise<string[]>;
    loadModel(options: object): Promise<{
      createContext(options: object): Promise<{ getSequence(): Sequence }>;
    }>;
  }>;
}

interface Sequence {
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number, void, void>;
  controlledEvaluate(
    input: readonly (number | [number, object])[],
  ): Promise<readonly ({ next: { logits?: Map<number, number> } } | undefined)[]>;
  clearHistory(): Promise<void>;
}

const THREADS = 2;
const gpu = process.argv[2] === "vulkan" ? "vulkan" : false;

await answer(async (request: Request) => {
  const { model: modelPath, prompt, batch, wanted } = request;
  const { getLlama } = await importPeer<NodeLlamaCpp>("node-llama-cpp");
  // Prebuilt binaries or nothing: a bench neither downloads nor compiles.
  const build = { build: "never", skipDownload: true, progressLogs: false, logLevel: "error" };
  const llama = await getLlama({ ...build, gpu, maxThreads: THREADS });
  if (llama.gpu !== gpu) throw new Error(`llama.cpp runs on ${llama.gpu || "cpu"}, not on ${gpu}`);
  const model = await llama.loadModel({
    modelPath,
    gpuLayers: gpu ? "max" : 0,
    ignoreMemorySafetyChecks: true,
  });
  const context = await model.createContext({
    contextSize: contextOf(request),
    batchSize: batch,
    threads: THREADS,
    ignoreMemorySafetyChecks: true,
  });
  const sequence = context.getSequence();

  const times = await timeTokens(request, async () => {
    await sequence.clearHistory();
    return sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true });
  });

  const logits: Float32Array[] = [];
  if (wanted > 0) {
    const text = checkedText(request, times.ids);
    await sequence.clearHistory();
    const generateNext = { logits: true, options: { temperature: 0 } };
    const rows = await sequence.controlledEvaluate(
      text.map((id, i) => (i < text.length - wanted ? id : [id, { generateNext }])),
    );
    for (const row of rows) {
      const entries = row?.next.logits;
      if (!entries) continue;
      const values = new Float32Array(entries.size);
      for (const [id, logit] of entries) values[id] = logit;
      logits.push(values);
    }
  }
  const names = gpu ? await llama.getGpuDeviceNames() : [];
  const device = names.join(", ") || `CPU, ${THREADS} threads`;
  return { device, logits, ...times };
});
