// Fetches a model by name, before it is needed.

import { pullModel } from "../../index.ts";
import { Command } from "../terminal/command.ts";
import { duration, fetching, note, size, write, writeJson } from "../terminal/terminal.ts";

interface Flags {
  readonly json?: boolean;
}

/** `dawnstream pull` */
export function pullCommand(): Command {
  return new Command("pull")
    .description("fetch a model from Hugging Face or an address, or its newest version")
    .example("dawnstream pull hf:unsloth/SmolLM2-135M-Instruct-GGUF:Q4_K_M")
    .argument("<model>", "hf:OWNER/REPO, with :QUANT or /FILE.gguf behind it, or an https address")
    .option("--json", "print one object")
    .action(async (name: string, flags: Flags) => {
      const began = performance.now();
      const model = await fetching((options) => pullModel(name, options));
      if (flags.json) return writeJson(model);
      await write(`${model.path}\n`);
      const files = model.files.length === 1 ? "" : ` in ${model.files.length} files`;
      note(`[${size(model.bytes)}${files} | ${duration(performance.now() - began)}]`);
    });
}
