// dawnstream against llama.cpp: its Vulkan backend on the same adapter, and its CPU backend with two threads, as far as
// they are here. The same file, the same prompt, greedy; each engine in a process of its own, in turns.
//
// The answers are checked before any time is printed. llama.cpp rounds activations to 8 bits on the CPU, and so its
// logits after the same text differ from ours by 0.13 % of their square sum (Vulkan's by a millionth); demanded is
// 0.5 %. Tokens must agree as long as the likeliest one leads by more than four times that engine's own difference,
// and an engine must say the same in every round.

import { basename } from "node:path";
import { parseArgs } from "node:util";
import { UserError } from "../src/errors.ts";
import { loadTokenizer } from "../src/index.ts";
import { median } from "../src/numbers.ts";
import { hasLlamaCpp, installPeers } from "./peers.ts";
import { ask, type ProcessOptions } from "./process.ts";
import { benchModel, shapeNamed } from "./random-model.ts";
import { machine, percent, printTable, save, spread, wholeNumber } from "./report.ts";
import type { Reply, Request } from "./versus/protocol.ts";

/** Of the squared difference of two engines' logits to the square sum of ours. */
const TOLERANCE = 5e-3;

/** What is asked of each engine, and which of the times that it took are compared. */
export interface Question {
  readonly name: string;
  /** How it is called with a prompt of so many tokens, and how many of these there are if none is asked for. */
  readonly title: (prompt: number) => string;
  readonly prompt: number;
  /** Tokens of a prompt that are computed at a time. */
  readonly batch: (prompt: number) => number;
  /** Few with a slow engine. */
  readonly effort: (slow: boolean, prompt: number) => Pick<Request, "tokens" | "repeats">;
  /** Tokens whose logits are compared. */
  readonly checked: number;
  /** Milliseconds, and the tokens that each of them stands for. */
  readonly times: (reply: Reply) => readonly number[];
  readonly tokensPerTime: (prompt: number) => number;
}

interface Contestant extends ProcessOptions {
  readonly name: string;
  readonly script: string;
  readonly slow: boolean;
}

interface Peer extends Contestant {
  readonly backend: "cpu" | "vulkan";
}

const OURS: Contestant = { name: "dawnstream", script: "versus/dawnstream.ts", slow: false };
const LLAMA_CPP: readonly Peer[] = [
  {
    name: "llama.cpp Vulkan",
    script: "versus/llama-cpp.ts",
    backend: "vulkan",
    args: ["vulkan"],
    // llama.cpp leaves out adapters that are CPUs unless one is named.
    env: { GGML_VK_VISIBLE_DEVICES: "0" },
    slow: true,
  },
  {
    name: "llama.cpp CPU",
    script: "versus/llama-cpp.ts",
    backend: "cpu",
    args: ["cpu"],
    slow: false,
  },
];

export async function versus(question: Question, args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      shape: { type: "string", default: "134m" },
      model: { type: "string" },
      prompt: { type: "string", default: `${question.prompt}` },
      engines: { type: "string", default: "vulkan,cpu" },
      rounds: { type: "string", default: "3" },
      "install-peers": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
    },
  });
  const shape = shapeNamed(values.shape);
  const rounds = wholeNumber("--rounds", values.rounds, 1, 1000);
  if (values["install-peers"]) installPeers();
  const prompt = wholeNumber("--prompt", values.prompt, 1, 2 ** 20);
  const engines = values.engines.split(",");
  const unknown = engines.find((name) => !LLAMA_CPP.some(({ backend }) => backend === name));
  if (unknown !== undefined) {
    throw new UserError(`--engines ${unknown}: expected vulkan, cpu or vulkan,cpu.`);
  }
  const asked = LLAMA_CPP.filter(({ backend }) => engines.includes(backend));
  const peers = asked.filter(({ backend }) => hasLlamaCpp(backend));
  const model = values.model ?? (await benchModel(shape));
  const text = tokensOf(prompt, (await loadTokenizer(model)).vocabulary.size);
  if (peers.length === 0) {
    console.error("llama.cpp is not installed: run again with --install-peers to compare with it.");
  }
  const contestants = [OURS, ...peers];
  const replies = await compete(question, model, text, contestants, rounds);

  const perToken = (reply: Reply) =>
    question.times(reply).map((time) => time / question.tokensPerTime(prompt));
  const ours = median(replies.get(OURS)!.flatMap(perToken));
  const measured = contestants.map((contestant) => {
    const all = replies.get(contestant)!;
    const times = all.flatMap(perToken);
    return {
      engine: contestant.name,
      device: all[0]!.device,
      samples: times.length,
      msPerToken: median(times),
      spread: spread(times),
      msPerTokenOfRounds: all.map((reply) => median(perToken(reply))),
      tokensPerSecond: 1000 / median(times),
      /** How many times faster ours is. */
      ratio: median(times) / ours,
    };
  });
  const name = values.model === undefined ? values.shape : basename(values.model, ".gguf");
  const result = {
    question: question.name,
    model: name,
    prompt,
    machine: machine(),
    engines: measured,
  };
  const length = prompt === question.prompt ? "" : `-${prompt}`;
  if (values.save) await save(`${question.name}-${name}${length}`, result);
  if (values.json) return void console.log(JSON.stringify(result, null, 2));
  const what = values.model === undefined ? `${name} parameters in Q4_K_M` : name;
  console.log(`${question.title(prompt)}, ${what}, on ${result.machine}`);
  for (const { engine, device } of measured) console.log(`  ${engine}: ${device}`);
  printTable(
    ["engine", "tok/s", "ms/token", "spread", "samples", "ours is faster by"],
    measured.map(({ engine, tokensPerSecond, msPerToken, samples, ratio, ...rest }) => [
      engine,
      tokensPerSecond.toFixed(1),
      msPerToken.toFixed(msPerToken < 10 ? 2 : 1),
      percent(rest.spread),
      `${samples}`,
      engine === OURS.name ? "" : `${ratio.toFixed(2)} ×`,
    ]),
  );
}

/** Lets every engine answer in turns, and compares what they say. */
async function compete(
  { batch, effort, checked }: Question,
  model: string,
  prompt: readonly number[],
  contestants: readonly Contestant[],
  rounds: number,
): Promise<Map<Contestant, Reply[]>> {
  const replies = new Map<Contestant, Reply[]>(contestants.map((one) => [one, []]));
  let reference: Reply | undefined;
  for (let round = 1; round <= rounds; round++) {
    for (const one of contestants) {
      console.error(`round ${round} of ${rounds}: ${one.name}`);
      const request: Request = {
        ...effort(one.slow, prompt.length),
        model,
        prompt,
        batch: batch(prompt.length),
        follow: reference?.ids ?? "own",
        wanted: round === 1 ? checked : 0, // slow engines are slow at it, too
      };
      const reply = await ask<Reply>(one.script, request, one);
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

/** A beginning, and tokens out of the first 30,300 of a vocabulary, if it has as many. */
function tokensOf(prompt: number, vocabulary: number): number[] {
  return Array.from({ length: prompt }, (_, i) =>
    i === 0 ? 1 : (300 + ((i * 7919) % 30000)) % vocabulary,
  );
}

/** Throws where an engine's logits, or its tokens where they leave no doubt, are not ours. */
function checkAgainst(reference: Reply, name: string, reply: Reply): void {
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
