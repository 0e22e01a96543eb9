// Passkey retrieval: a number hidden in filler text, asked for at the end.
// Mohtashami & Jaggi 2023, arXiv:2305.16300

import type { Engine } from "../../engine/engine.ts";
import { Random } from "../../engine/sampler/random.ts";
import { UserError } from "../../errors.ts";

/** Of whole numbers that are exact. */
const MAX_DIGITS = 15;

export interface PasskeyTask {
  /** The sentence that states the number, {key} in its place. */
  readonly statement: string;
  /** What the text ends with; the number should follow. */
  readonly question: string;
  readonly filler: string;
  readonly digits: number;
}

/** The task that the shipped model has learned; its card tells how well. */
export const DEFAULT_TASK: PasskeyTask = {
  statement: "The secret number is {key}. Remember it.",
  question: "The secret number is",
  filler:
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.",
  digits: 4,
};

/**
 * A task of a user's: JSON of what differs from the shipped model's. Throws a `UserError` if it is
 * none.
 */
export function readPasskeyTask(text: string): PasskeyTask {
  const given = parsed(text);
  const { statement, question, filler, digits, ...rest } = { ...DEFAULT_TASK, ...given };
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    const names = Object.keys(DEFAULT_TASK).join(", ");
    throw new UserError(`Unknown key "${unknown}" of the task: expected some of ${names}.`);
  }
  for (const [name, value] of Object.entries({ statement, question, filler })) {
    if (typeof value === "string" && value.trim() !== "") continue;
    throw new UserError(`Invalid ${name} ${JSON.stringify(value)} of the task: expected a text.`);
  }
  if (!statement.includes("{key}")) {
    throw new UserError(
      `The statement "${statement}" has no place for the number: put {key} there.`,
    );
  }
  if (!(Number.isInteger(digits) && digits >= 1 && digits <= MAX_DIGITS)) {
    throw new UserError(
      `Invalid digits ${JSON.stringify(digits)} of the task: expected a whole number from 1 to ${MAX_DIGITS}.`,
    );
  }
  return { statement, question, filler, digits };
}

function parsed(text: string): Partial<PasskeyTask> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(`The task is not JSON (${(error as Error).message}).`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new UserError("The task is no JSON object: expected statement, question, filler, digits.");
}

/**
 * The prompt of about `length` tokens with the statement at `depth` (0: at the start, 1: at the
 * end).
 */
function passkeyPrompt(
  count: (text: string) => number,
  task: PasskeyTask,
  length: number,
  depth: number,
  key: string,
): string {
  const statement = task.statement.replace("{key}", key);
  const fixed = count(`${statement} ${task.question}`) + task.digits + 2;
  const sentences = task.filler.match(/[^.]+\./g) ?? [task.filler];
  const filler: string[] = [];
  let tokens = fixed;
  for (let i = 0; ; i++) {
    const sentence = sentences[i % sentences.length]!.trim();
    tokens += count(` ${sentence}`);
    if (tokens > length) break;
    filler.push(sentence);
  }
  const at = Math.round(depth * filler.length);
  return [...filler.slice(0, at), statement, ...filler.slice(at), task.question].join(" ");
}

/** The share of trials in which the model, greedily, gives the whole number. */
export async function passkeyAccuracy(
  engine: Engine,
  task: PasskeyTask,
  length: number,
  depth: number,
  trials: number,
): Promise<number> {
  const random = new Random(1000 * length + Math.round(100 * depth));
  const countTokens = (text: string) => engine.tokenize(text, { addSpecial: false }).length;
  let right = 0;
  for (let trial = 0; trial < trials; trial++) {
    const low = 10 ** (task.digits - 1);
    const key = String(low + Math.floor(random.uniform() * 9 * low));
    const prompt = passkeyPrompt(countTokens, task, length, depth, key);
    const { text } = await engine.complete(prompt, { maxTokens: task.digits + 2, temperature: 0 });
    if (/\d+/.exec(text)?.[0] === key) right += 1;
  }
  return right / trials;
}
