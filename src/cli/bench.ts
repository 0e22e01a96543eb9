import { Command } from "commander";
import { benchCacheCommand } from "./bench-cache.ts";
import { benchKernelsCommand } from "./bench-kernels.ts";
import { benchDecodeCommand, benchPrefillCommand } from "./bench-model.ts";

/** `dawnstream bench …` */
export function benchCommand(): Command {
  return new Command("bench")
    .description("measure")
    .addCommand(benchDecodeCommand())
    .addCommand(benchPrefillCommand())
    .addCommand(benchCacheCommand())
    .addCommand(benchKernelsCommand());
}
