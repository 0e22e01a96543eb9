import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command, Machine } from "./setup-plan.ts";

export interface Outcome {
  /** The exit status; null when the process was ended by a signal or did not start. */
  readonly status: number | null;
  readonly stdout: string;
  /** Everything printed, in the order in which it came. */
  readonly output: string;
}

/** What set-up needs of the machine it runs on; tests replace it. */
export interface SetupHost {
  /**
   * Asks a fresh process for Dawn's adapter: its description on `stdout`, or a status other than 0.
   */
  probe(): Promise<Outcome>;
  inspect(): Machine;
  /** Runs a command to its end; `onOutput` is called with its output as it comes. */
  run(command: Command, onOutput?: (text: string) => void): Promise<Outcome>;
}

/** The machine this process runs on. */
export const thisMachine: SetupHost = {
  probe: () => {
    // Beside this file lies probe.ts or, once built, probe.js; execArgv brings tsx along for the
    // former.
    const script = new URL(`./probe${extname(import.meta.url)}`, import.meta.url);
    return execute({ argv: [process.execPath, ...process.execArgv, fileURLToPath(script)] });
  },
  inspect: () => ({
    platform: process.platform,
    osRelease: existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "",
    hasApt: succeeds("apt-get", "--version"),
    privilege: process.geteuid?.() === 0 ? "root" : canSudo() ? "sudo" : "none",
    mesaPolicy: outputOf("apt-cache", "policy", "mesa-vulkan-drivers"),
  }),
  run: execute,
};

/** With a terminal sudo may ask for a password; without one it must not. */
function canSudo(): boolean {
  return process.stdin.isTTY ? succeeds("sudo", "--version") : succeeds("sudo", "-n", "true");
}

function succeeds(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { stdio: "ignore" }).status === 0;
}

function outputOf(program: string, ...args: string[]): string {
  // apt translates what it prints; LC_ALL=C keeps it as setup-plan.ts reads it.
  const env = { ...process.env, LC_ALL: "C" };
  return spawnSync(program, args, { encoding: "utf8", env }).stdout ?? "";
}

function execute(command: Command, onOutput?: (text: string) => void): Promise<Outcome> {
  const [program, ...args] = command.argv;
  return new Promise((resolve) => {
    let stdout = "";
    let output = "";
    const hear = (text: string) => {
      output += text;
      onOutput?.(text);
    };
    // sudo talks to the terminal itself when it asks for a password, so none of the three is
    // inherited.
    const child = spawn(program!, args, { stdio: "pipe" });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      hear(text);
    });
    child.stderr.setEncoding("utf8").on("data", hear);
    child.on("error", (error) => hear(`${error.message}\n`));
    child.on("close", (status) => resolve({ status, stdout, output }));
    child.stdin.on("error", () => {}); // the program may end without reading its input
    child.stdin.end(command.input ?? "");
  });
}
