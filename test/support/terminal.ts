// Runs the built command in a terminal and types, as a user does.

import { spawn, spawnSync } from "node:child_process";
import { MAIN } from "./cli.ts";

/** util-linux's `script`, which gives a command a terminal. */
export const hasTerminal: boolean =
  spawnSync("script", ["--version"]).stdout?.includes("util-linux") ?? false;
if (!hasTerminal) console.error("SKIPPED: tests in a terminal, for want of util-linux's script");

export interface TerminalRun {
  /** All that the screen was sent. */
  readonly output: string;
  /** As a shell has it: 128 and the number of a signal that ended the command. */
  readonly status: number | null;
}

/** What the screen shows, as a regular expression, and what is then typed, or the signal that is then sent. */
export type Dialogue = readonly (readonly [shown: string, typed: string | NodeJS.Signals])[];

export interface TerminalOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly node?: string;
}

/** Types when the screen shows, after what was typed before, what the dialogue waits for. */
export function typeInTerminal(
  args: readonly string[],
  dialogue: Dialogue,
  { env = {}, node = process.execPath }: TerminalOptions = {},
): Promise<TerminalRun> {
  const command = [node, MAIN, ...args].map((word) => `'${word}'`).join(" ");
  const child = spawn("script", ["-qefc", `echo pid=$$; exec ${command}`, "/dev/null"], {
    env: { ...process.env, ...env },
  });
  return new Promise((resolve, reject) => {
    const left = [...dialogue];
    let [output, seen] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      seen += text;
      const [shown, typed] = left[0] ?? [];
      if (shown === undefined || !new RegExp(shown, "s").test(seen)) return;
      left.shift();
      seen = "";
      if (/^SIG/.test(typed!)) {
        process.kill(Number(/pid=(\d+)/.exec(output)![1]), typed as NodeJS.Signals);
      } else child.stdin.write(typed!);
    });
    child.on("error", reject);
    child.on("close", (status) => resolve({ output, status }));
  });
}
