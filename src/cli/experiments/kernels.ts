// What does a kernel look like when it is put together? Its shaders as this adapter gets them, each
// part under the name of the file that it comes from.

import { formatsOf, KERNELS, type Selection } from "../../laboratory/kernels/kernel-cases.ts";
import {
  type ShownKernel,
  type ShownShader,
  showKernel,
} from "../../laboratory/kernels/show-kernel.ts";
import { withTunedDevice } from "../../laboratory/kernels/tuned-device.ts";
import { nodePlatform } from "../../platform/node.ts";
import { Command } from "../terminal/command.ts";
import { integer } from "../terminal/flags.ts";
import { write, writeJson } from "../terminal/terminal.ts";
import { checkSelection, readShape, SHAPE_HELP } from "./bench-kernels.ts";

interface Flags extends Selection {
  readonly json?: boolean;
}

/** `dawnstream kernels …` */
export function kernelsCommand(): Command {
  return new Command("kernels")
    .description("list the kernels, or show one as its shaders are put together")
    .example("dawnstream kernels show matvec --format Q6_K")
    .addCommand(listCommand(), { isDefault: true })
    .addCommand(showCommand());
}

function listCommand(): Command {
  return new Command("list")
    .description("print every kernel with the formats that it takes")
    .example("dawnstream kernels list --json")
    .option("--json", "print one array")
    .action(async ({ json }: { json?: boolean }) => {
      const kernels = KERNELS.map((kernel) => ({ kernel, formats: formatsOf(kernel) }));
      if (json) await writeJson(kernels);
      else
        await write(
          kernels.map(({ kernel, formats }) => `${kernel}: ${formats.join(", ")}\n`).join(""),
        );
    });
}

function showCommand(): Command {
  return new Command("show")
    .description("print the shaders of a kernel, each part under the name of its file")
    .example("dawnstream kernels show attention --tokens 64 --format q8_0")
    .argument("<name>", `one of ${KERNELS.join(", ")}`)
    .option("--format <name>", "a weight format, or how a cache stores (default: Q4_K, or f16)")
    .option("--shape <n,k>", SHAPE_HELP, readShape)
    .option("--tokens <t>", "tokens of a step, if a kernel takes several", integer, 1)
    .option("--json", "print one object: of each shader its parts and overrides")
    .action(async (kernel: string, { json, ...flags }: Flags) => {
      const selection = { ...flags, kernel };
      checkSelection(selection);
      await withTunedDevice(nodePlatform, async ({ device, facts, adapter, usual }) => {
        const shown = await showKernel(device, facts, nodePlatform.shaders, selection, usual);
        if (json) await writeJson({ adapter, ...shown });
        else await write(textOf(shown, adapter));
      });
    });
}

/** WGSL that compiles as it stands, if the kernel is one shader. */
function textOf({ kernel, format, shape, shaders }: ShownKernel, adapter: string): string {
  const head = `// ${kernel} ${format} ${shape} on ${adapter}\n`;
  return head + shaders.map(shaderText).join("\n");
}

function shaderText({ name, parts, overrides }: ShownShader): string {
  const fixed = Object.entries(overrides).map(([name, value]) => `${name} = ${value}`);
  return [
    `// shader ${name}, with ${fixed.join(", ") || "no overrides"}`,
    ...parts.map(({ file, text }) => `// ---- ${file}\n${text}`),
  ].join("\n");
}
