import type { Outcome, SetupHost } from "./setup-host.ts";
import { type Attempt, type Command, canInstall, planInstall, refreshLists } from "./setup-plan.ts";

interface SetupOptions {
  /** Hears, line by line, what is about to be done and how it went. */
  readonly log: (line: string) => void;
  /**
   * Also called with the output of commands, as it comes; without it only the output of failed ones
   * is logged.
   */
  readonly onOutput?: (text: string) => void;
}

/**
 * Gives Dawn an adapter if it has none, and returns the adapter's description; undefined if it
 * could not, after it has logged why and what the user can do.
 */
export async function setUp(host: SetupHost, options: SetupOptions): Promise<string | undefined> {
  const { log } = options;
  let found = await host.probe();
  if (found.status !== 0) {
    log("Dawn itself does not run here (its builds are for x64 and arm64, on Linux with glibc):");
    logOutput(found, log);
    return undefined;
  }
  if (found.stdout) return found.stdout.trim();

  log("Dawn finds no WebGPU adapter on this machine.");
  let machine = host.inspect();
  if (canInstall(machine)) {
    // One broken third-party source makes the update fail; the needed lists may exist anyway.
    await runAll([refreshLists(machine)], host, options);
    machine = host.inspect();
  }
  const plan = planInstall(machine);
  if (plan.kind === "advise") {
    for (const line of plan.lines) log(line);
    return undefined;
  }
  for (const attempt of plan.attempts) {
    if (!(await carryOut(attempt, host, options))) continue;
    found = await host.probe();
    if (found.stdout) return found.stdout.trim();
    log("Installed, but Dawn accepts none of the drivers on this machine:");
    logOutput(found, log);
  }
  return undefined;
}

async function carryOut(attempt: Attempt, host: SetupHost, options: SetupOptions) {
  options.log(`Installing a software Vulkan driver, ${attempt.from}:`);
  const done = await runAll(attempt.commands, host, options);
  if (!done && attempt.undo) await runAll([attempt.undo], host, options);
  return done;
}

/** Runs the commands, each after saying so, up to the first that fails. */
async function runAll(commands: readonly Command[], host: SetupHost, options: SetupOptions) {
  const { log, onOutput } = options;
  for (const command of commands) {
    log(`  ${command.argv.join(" ")}`);
    for (const line of command.input?.split("\n") ?? []) if (line) log(`    | ${line}`);
    const outcome = await host.run(command, onOutput);
    if (outcome.status === 0) continue;
    log(`Failed with status ${outcome.status}:`);
    if (!onOutput) logOutput(outcome, log);
    return false;
  }
  return true;
}

function logOutput(outcome: Outcome, log: SetupOptions["log"]): void {
  for (const line of outcome.output.split("\n")) if (line.trim()) log(`  ${line}`);
}
