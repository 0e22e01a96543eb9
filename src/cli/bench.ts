import { Command } from "commander";
import { benchCacheCommand } from "./bench-cache.ts";

/** `dawnstream bench …` */
export function benchCommand(): Command {
  return new Command("bench").description("measure").addCommand(benchCacheCommand());
}
