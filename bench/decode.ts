// How fast does dawnstream decode, compared with llama.cpp: its Vulkan backend on the same adapter, and its CPU backend
// with two threads? The same file, the same prompt, greedy; each engine in a process of its own, in turns.
//
// The answers are checked before any time is printed. llama.cpp rounds activations to 8 bits on the CPU, and so its
// logits after the same text differ from ours by 0.13 % of their square sum (Vulkan's by a millionth); demanded is
// 0.5 %. Tokens must agree as long as the likeliest one leads by more than four times that engine's own difference,
// and an engine must say the same in every round.

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
      const [earlier] = replies.get(one)!;
      if (!earlier) checkAgainst(reference, one.name, reply);
      else if (earlier.ids.join() !== reply.ids.join()) {
        throw new Error(`${one.name} says something else than in the first round`);
      }
      replies.get(one)!.push(reply);
    }
  }
  return replies;
}

/** Throws where an engine's logits, or its tokens where they leave no doubt, are not ours. */
function checkAgainst(reference: DecodeReply, name: string, reply: DecodeReply): void {
  let noise = 0; // rms over all logits compared
  for (const [i, row] of reply.logits.entries()) {
    const expected = reference.logits[i]!;
    const difference = meanSquare(row.map((logit, token) => logit - expected[token]!));
    const share = difference / meanSquare(expected);
    if (!(row.length === expected.length && share <= TOLERANCE)) {
      throw new Error(`${name}: logits after token ${i} differ from ours by ${share}`);
    }
    noise += difference / reply.logits.length;
  }
  noise = Math.sqrt(noise);
  console.error(`  logits differ from ours by ${noise.toFixed(4)} (rms)`);
  for (const [i, expected] of reference.logits.entries()) {
    if (reply.ids[i] === reference.ids[i]) continue;
    const [first, second] = expected.toSorted((a, b) => b - a);
    if (first! - second! > 4 * noise) {
      throw new Error(`${name}: token ${i} is ${reply.ids[i]}, ours ${reference.ids[i]}`);
    }
    return; // so close that the difference may decide; from here on the texts are not the same
  }
}

function meanSquare(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value * value, 0) / values.length;
}
