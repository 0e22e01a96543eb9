// Commands that run an experiment, or show a kernel: their flags, and what they print, draw and
// keep. Not in this room: what is computed (laboratory/).

import { Command } from "../terminal/command.ts";
import { benchCacheCommand } from "./bench-cache.ts";
import { benchKernelsCommand } from "./bench-kernels.ts";
import { benchDecodeCommand, benchPrefillCommand } from "./bench-model.ts";
import { benchServeCommand } from "./bench-together.ts";

/** `dawnstream bench …` */
export function benchCommand(): Command {
  return new Command("bench")
    .description("measure")
    .example("dawnstream bench decode --at 128,512")
    .addCommand(benchDecodeCommand())
    .addCommand(benchPrefillCommand())
    .addCommand(benchServeCommand())
    .addCommand(benchCacheCommand())
    .addCommand(benchKernelsCommand());
}
