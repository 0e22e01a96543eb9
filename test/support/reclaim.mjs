// Run as a process of its own: engines that are loaded and closed, a text that is dropped after its first piece, devices
// that are lost under an engine, and what stays of them. Prints the threads and the megabytes of the process after each
// load and loss, and the pages that the text held.      node --expose-gc reclaim.mjs MODEL LOADS LOSSES

import { readdirSync } from "node:fs";
import { Engine } from "../../dist/engine/engine.js";
import { openModel } from "../../dist/engine/model/open.js";
import { nodePlatform } from "../../dist/platform/node.js";

const [model, loads, losses] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const options = { context: 64 };
const answer = (engine) => engine.complete("Once upon a time", { maxTokens: 4, temperature: 0 });
const held = () => {
  gc(); // what V8 has not collected yet is no leak
  return {
    threads: readdirSync("/proc/self/task").length,
    megabytes: process.memoryUsage.rss() / 2 ** 20,
  };
};

const afterLoads = [];
for (let i = 0; i < loads; i++) {
  const engine = await open(nodePlatform);
  await answer(engine);
  await engine.close();
  afterLoads.push(held());
}

let device;
const platform = {
  ...nodePlatform,
  requestAdapter: async (gpu) => {
    const adapter = await nodePlatform.requestAdapter(gpu);
    const requestDevice = async (descriptor) => {
      device = await adapter.requestDevice(descriptor);
      return device;
    };
    return new Proxy(adapter, {
      get: (_, name) => {
        if (name === "requestDevice") return requestDevice;
        const value = adapter[name];
        return typeof value === "function" ? value.bind(adapter) : value;
      },
    });
  },
};
const engine = await open(platform);
const pages = [await dropped(engine), await collected(() => engine.usage.pages)];
const texts = [(await answer(engine)).text];
const afterLosses = [];
for (let i = 0; i < losses; i++) {
  device.destroy();
  texts.push((await answer(engine)).text);
  afterLosses.push(held());
}
await engine.close();
console.log(JSON.stringify({ afterLoads, afterLosses, pages, texts: [...new Set(texts)].length }));

async function open(on) {
  return Engine.open(on, await openModel(model, nodePlatform.openFile), options);
}

/** The pages of a text of which nothing is kept but its first piece. */
async function dropped(engine) {
  const text = engine.generate("Once upon a time", { maxTokens: 40, temperature: 0 });
  await text.next();
  return engine.usage.pages;
}

/** What `count` comes down to when garbage is collected, five seconds at most. */
async function collected(count) {
  for (let i = 0; i < 50 && count() > 0; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return count();
}
