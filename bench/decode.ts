// How fast does dawnstream decode, compared with llama.cpp: its Vulkan backend on the same adapter, and its CPU backend
// with two threads? The same file, the same prompt, greedy; each engine in a process of its own, in turns.
//
// The answers are checked before any time is printed. llama.cpp rounds activations to 8 bits on the CPU and the factors
// of some products to 16 bits on Vulkan, and so its logits after the same text differ from ours by 0.03 to 0.1 % of
// their square sum; demanded is 0.5 %. Tokens need agree only as long as the likeliest one leads by more than that noise.

import { parseArgs } from "node:util";
import type { DecodeReply, DecodeRequest } from "./decode/protocol.ts";
import { hasPeer, installPeers } from "./peers.ts";
import { ask, type ProcessOptions } from "./process.ts";
import { benchModel, SHAPES, type ShapeName } from "./random-model.ts";
import { machine, median, percent, printTable, save, spread } from "./report.ts";

const PROMPT = [1, 300, 4000, 777];

/** Tokens whose logits are compared. */
const CHECKED = 6;
/** Of the squared difference of two engines' logits to the square sum of ours. */
const TOLERANCE = 5e-3;

interface Contestant extends ProcessOptions {
  readonly name: string;
  readonly script: string;
  /** Tokens to generate: few with a slow one. */
  readonly tokens: number;
}

const OURS: Contestant = { name: "dawnstream", script: "decode/dawnstream.ts", tokens: 33 };
const LLAMA_CPP: readonly Contestant[] = [
  {
    name: "llama.cpp Vulkan",
    script: "decode/llama-cpp.ts",
    args: ["vulkan"],
    // llama.cpp leaves out adapters that are CPUs unless one is named.
    env: { GGML_VK_VISIBLE_DEVICES: "0" },
    tokens: 9,
  },
  { name: "llama.cpp CPU", script: "decode/llama-cpp.ts", args: ["cpu"], tokens: 33 },
];

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      shape: { type: "string", default: "134m" },
      model: { type: "string" },
      rounds: { type: "string", default: "3" },
      "install-peers": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
    },
  });
  if (!(values.shape in SHAPES)) throw new Error(`--shape is one of ${Object.keys(SHAPES)}`);
  if (values["install-peers"]) installPeers();
  const compared = hasPeer("node-llama-cpp");
  if (!compared) {
    console.error("llama.cpp is not installed: run again with --install-peers to compare with it.");
  }
  const model = values.model ?? (await benchModel(values.shape as ShapeName));
  const contestants = compared ? [OURS, ...LLAMA_CPP] : [OURS];
  const replies = await compete(model, contestants, Number(values.rounds));

  const ours = median(replies.get(OURS)!.flatMap(({ tokenMs }) => tokenMs));
  const engines = contestants.map((contestant) => {
    const all = replies.get(contestant)!;
    const times = all.flatMap(({ tokenMs }) => tokenMs);
    return {
      engine: contestant.name,
      device: all[0]!.device,
      samples: times.length,
      msPerToken: median(times),
      spread: spread(times),
      msPerTokenOfRounds: all.map(({ tokenMs }) => median(tokenMs)),
      tokensPerSecond: 1000 / median(times),
      /** How many times faster ours is. */
      ratio: median(times) / ours,
    };
  });
  const result = { question: "decode", model: values.shape, machine: machine(), engines };
  if (values.save) save(`decode-${values.shape}`, result);
  if (values.json) return void console.log(JSON.stringify(result, null, 2));
  console.log(`Decoding, ${values.shape} parameters in Q4_K_M, on ${result.machine}`);
  for (const { engine, device } of engines) console.log(`  ${engine}: ${device}`);
  printTable(
    ["engine", "tok/s", "ms/token", "spread", "samples", "ours is faster by"],
    engines.map(({ engine, tokensPerSecond, msPerToken, samples, ratio, ...rest }) => [
      engine,
      tokensPerSecond.toFixed(1),
      msPerToken.toFixed(1),
      percent(rest.spread),
      `${samples}`,
      engine === OURS.name ? "" : `${ratio.toFixed(2)} ×`,
    ]),
  );
}

/** Lets every engine decode in turns, and compares what they say. */
async function compete(
  model: string,
  contestants: readonly Contestant[],
  rounds: number,
): Promise<Map<Contestant, DecodeReply[]>> {
  const replies = new Map<Contestant, DecodeReply[]>(contestants.map((one) => [one, []]));
  let reference: DecodeReply | undefined;
  for (let round = 1; round <= rounds; round++) {
    for (const one of contestants) {
      console.error(`round ${round} of ${rounds}: ${one.name}`);
      const request: DecodeRequest = {
        model,
        prompt: PROMPT,
        tokens: one.tokens,
        follow: reference?.ids ?? "own",
        wanted: round === 1 ? CHECKED : 0, // slow engines are slow at it, too
      };
      const reply = await ask<DecodeReply>(one.script, request, one);
      reference ??= reply;
      check(one.name, reply, reference);
      replies.get(one)!.push(reply);
    }
  }
  return replies;
}

/** Throws where an engine says something else than ours did. */
function check(name: string, reply: DecodeReply, reference: DecodeReply): void {
  const noise: number[] = [];
  for (const [i, row] of reply.logits.entries()) {
    const expected = reference.logits[i]!;
    let difference = 0;
    let total = 0;
    for (let token = 0; token < expected.length; token++) {
      difference += (row[token]! - expected[token]!) ** 2;
      total += expected[token]! ** 2;
    }
    if (!(difference / total <= TOLERANCE)) {
      throw new Error(`${name}: logits differ by ${difference / total} at token ${i} after ours`);
    }
    noise.push(Math.sqrt(difference / expected.length));
  }
  if (noise.length > 0) console.error(`  logits differ by ${median(noise).toFixed(3)} (rms)`);
  for (const [i, expected] of reference.logits.entries()) {
    const [first, second] = expected.toSorted((a, b) => b - a);
    if (reply.ids[i] === reference.ids[i]) continue;
    const margin = first! - second!;
    const bound = 4 * Math.sqrt(TOLERANCE * meanSquare(expected));
    if (margin > bound) {
      throw new Error(`${name}: token ${i} is ${reply.ids[i]}, ours ${reference.ids[i]}`);
    }
    return; // a tie that the noise may decide, and from here on the texts differ
  }
}

function meanSquare(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value * value, 0) / values.length;
}
