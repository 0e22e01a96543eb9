// How much of a token's time is the host's: writing a step's integers, recording its dispatches, taking in its logits,
// apart from waiting for the GPU? On the real adapter, and on Dawn's null backend, which computes nothing: there the
// whole token, sampling and text included, is the host's.
//
// The 134 M shape, and one of 32 layers, as many as an 8B model has: what the host does for a layer does not depend on its
// width. On the real adapter the same prompt must give the same tokens each time.

import { parseArgs } from "node:util";
import { Engine } from "../src/engine/engine.ts";
import { openModel } from "../src/engine/model/open.ts";
import type { Platform } from "../src/engine/run/session.ts";
import { USAGE } from "../src/kernels/gpu/usage-flags.ts";
import { median } from "../src/numbers.ts";
import { openGpu } from "../src/platform/dawn.ts";
import { openFile } from "../src/platform/file.ts";
import { nodePlatform } from "../src/platform/node.ts";
import { benchModel, type ShapeName } from "./random-model.ts";
import { machine, percent, printTable, save, spread, wholeNumber } from "./report.ts";

const PROMPT = [1, 300, 4000, 777];

interface HostTimes {
  readonly backend: string;
  readonly device: string;
  readonly layers: number;
  readonly dispatches: number;
  readonly tokens: number;
  /** Of the steps, waiting left out. */
  readonly hostMs: number;
  readonly hostSpread: number;
  /** From token to token. */
  readonly tokenMs: number;
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      tokens: { type: "string", default: "48" },
      json: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
    },
  });
  const tokens = wholeNumber("--tokens", values.tokens, 2, 500);
  const options = { context: 512, prefixes: false }; // every prompt is computed anew
  const load = async (platform: Platform, shape: ShapeName) =>
    Engine.open(platform, await openModel(await benchModel(shape), openFile), options);
  const backends: HostTimes[] = [];
  for (const shape of ["134m", "deep"] as const) {
    backends.push(
      await measure("real", await load(nodePlatform, shape), tokens),
      await measure("null", await load(nullBackend, shape), tokens),
    );
  }
  const result = { question: "host", machine: machine(), backends };
  if (values.save) await save("host", result);
  if (values.json) return void console.log(JSON.stringify(result, null, 2));
  console.log(`Host time per token, on ${result.machine}`);
  printTable(
    ["backend", "layers", "host ms", "spread", "token ms", "dispatches", "adapter"],
    backends.map(({ backend, layers, hostMs, hostSpread, tokenMs, dispatches, device }) => [
      backend,
      `${layers}`,
      hostMs.toFixed(3),
      percent(hostSpread),
      tokenMs.toFixed(2),
      `${dispatches}`,
      device,
    ]),
  );
}

/** Computes nothing, and leaves memory as it found it: what lies there may be no numbers, so all buffers begin with zeros. */
const nullBackend: Platform = {
  ...nodePlatform,
  measurements: { get: async () => 512, set: async () => {} }, // its times mean nothing
  openGpu: () => openGpu({ flags: ["backend=null"] }),
  async requestAdapter(gpu) {
    const adapter = await nodePlatform.requestAdapter(gpu);
    const requestDevice = adapter.requestDevice.bind(adapter);
    adapter.requestDevice = async (descriptor) => {
      const device = await requestDevice(descriptor);
      const createBuffer = device.createBuffer.bind(device);
      device.createBuffer = (options) => {
        const buffer = createBuffer(options);
        const isWritable = (options.usage & USAGE.COPY_DST) !== 0;
        if (isWritable) device.queue.writeBuffer(buffer, 0, new Uint8Array(options.size));
        return buffer;
      };
      return device;
    };
    return adapter;
  },
};

async function measure(backend: string, engine: Engine, tokens: number): Promise<HostTimes> {
  try {
    // The null backend chooses no tokens: there they come from the host, out of logits that nobody has computed.
    const logprobs = backend === "null" ? 0 : undefined;
    const first = await decode(engine, tokens, logprobs); // compiles and warms up
    const second = await decode(engine, tokens, logprobs);
    if (first.ids.join() !== second.ids.join()) {
      throw new Error(`${backend}: the same prompt went on differently the second time`);
    }
    return {
      backend,
      device: engine.loaded.adapter,
      layers: engine.config.layers,
      dispatches: engine.usage.dispatches,
      tokens: second.hostMs.length,
      hostMs: median(second.hostMs),
      hostSpread: spread(second.hostMs),
      tokenMs: median(second.tokenMs),
    };
  } finally {
    await engine.close();
  }
}

async function decode(engine: Engine, tokens: number, logprobs: number | undefined) {
  const ids: number[] = [];
  const hostMs: number[] = [];
  const tokenMs: number[] = [];
  let [time, host] = [performance.now(), engine.usage.hostMs];
  const options = { temperature: 0, maxTokens: tokens, ignoreEos: true, logprobs };
  for await (const { id } of engine.generate(PROMPT, options)) {
    const [now, spent] = [performance.now(), engine.usage.hostMs];
    ids.push(id);
    if (ids.length > 1) {
      // The first one includes the prompt.
      tokenMs.push(now - time);
      hostMs.push(spent - host);
    }
    [time, host] = [now, spent];
  }
  return { ids, hostMs, tokenMs };
}
