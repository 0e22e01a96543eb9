// The `dawnstream` command, which bin/dawnstream.cjs starts. A user's mistake is one line on stderr
// and status 2; a stack trace is a bug.

import { CommanderError } from "commander";
import { UserError } from "../errors.ts";
import { DeviceLostError } from "../kernels/gpu/device.ts";
import { messageOf, program } from "./program.ts";
import { oneLine } from "./terminal/printable.ts";
import { InterruptedError, note } from "./terminal/terminal.ts";

// A reader that closes the pipe early (`| head`) is not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  note(`error: Cannot write to stdout: ${oneLine(error.message)}.`);
  process.exit(2);
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed its line; help and version are not mistakes.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else if (error instanceof UserError) {
    note(`error: ${oneLine(messageOf(error))}`);
    process.exitCode = 2;
  } else if (error instanceof InterruptedError) {
    note(error.message);
    process.exitCode = 130; // as a shell reports Ctrl-C
  } else if (error instanceof DeviceLostError) {
    // Neither the user's mistake nor a bug.
    note(`error: ${oneLine(error.message)}`);
    process.exitCode = 1;
  } else {
    throw error;
  }
}
