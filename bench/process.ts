// A measurement in a process of its own: nothing that ran before has warmed it up, filled its heap or left threads.

import { fork } from "node:child_process";
import { join } from "node:path";
import { UserError } from "../src/errors.ts";

export interface ProcessOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A reply in place of another: what is wrong with what a user asked for. */
interface Mistake {
  readonly mistake: string;
}

/** Starts a script of this folder, sends it one request and returns its reply. */
export function ask<Reply>(
  script: string,
  request: object,
  { args = [], env = {} }: ProcessOptions = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    // Where this was compiled, so was the script.
    const compiled = import.meta.filename.endsWith(".js");
    const file = compiled ? script.replace(/\.ts$/, ".js") : script;
    const child = fork(join(import.meta.dirname, file), args, {
      execArgv: compiled ? [] : ["--import", "tsx"],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: { ...process.env, ...env },
    });
    let errors = "";
    child.stderr!.on("data", (data) => {
      errors += data;
    });
    child.once("message", (reply: Reply | Mistake) => {
      const isMistake = typeof reply === "object" && reply !== null && "mistake" in reply;
      if (isMistake) reject(new UserError(reply.mistake));
      else resolve(reply);
    });
    child.once("error", reject);
    child.once("exit", (status) => reject(new Error(`${script} ended with ${status}:\n${errors}`)));
    child.send(request);
  });
}

/** Serves the one request of the process that asked, and ends. */
export async function answer<Request>(serve: (request: Request) => Promise<object>): Promise<void> {
  const request = await new Promise<Request>((resolve) => process.once("message", resolve));
  const reply = await serve(request).catch((error: unknown): Mistake => {
    if (!(error instanceof UserError)) throw error;
    return { mistake: error.message };
  });
  await new Promise((resolve) => process.send!(reply, resolve));
  process.exit(0);
}
