import { setUp } from "../../platform/setup.ts";
import { thisMachine } from "../../platform/setup-host.ts";
import { Command } from "../terminal/command.ts";
import { note, write } from "../terminal/terminal.ts";

/** `dawnstream setup`: installs a GPU driver if Dawn finds none. */
export function setupCommand(): Command {
  return new Command("setup")
    .description("install a software GPU driver if WebGPU finds no adapter, then print the adapter")
    .example("dawnstream setup")
    .option("--verbose", "show the output of the commands it runs")
    .action(async ({ verbose }: { verbose?: boolean }) => {
      const adapter = await setUp(thisMachine, {
        log: note,
        ...(verbose && { onOutput: (text) => process.stderr.write(text) }),
      });
      if (adapter) await write(`${adapter}\n`);
      else process.exitCode = 1;
    });
}
