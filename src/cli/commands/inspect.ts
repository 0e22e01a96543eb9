import { type GgufFile, type MetadataValue, openGguf } from "../../engine/gguf/gguf.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import { planMemory, readModel } from "../../engine/model/open.ts";
import { type FileSampling, readFileSampling } from "../../engine/sampler/file-sampling.ts";
import { UserError } from "../../errors.ts";
import { describeAdapter, openGpu } from "../../platform/dawn.ts";
import { openFile } from "../../platform/file.ts";
import { Command } from "../terminal/command.ts";
import { addEngineFlags, type EngineFlags, engineOptions, givenModel } from "../terminal/flags.ts";
import { printableLine } from "../terminal/printable.ts";
import { modelPath, size, write, writeJson } from "../terminal/terminal.ts";

interface Flags extends EngineFlags {
  readonly json?: boolean;
}

/** `dawnstream inspect`: what a file holds and what running it takes, from its header alone. */
export function inspectCommand(): Command {
  const command = new Command("inspect")
    .description("show metadata, tensors, adapter and exact memory of a model file")
    .example("dawnstream inspect model.gguf --context 8192")
    .argument("[file]", "GGUF file (the same as --model)")
    .option("--json", "print one object");
  return addEngineFlags(command, {
    ropeFreqBase: "memory does not depend on it",
    ropeFreqScale: "memory does not depend on it",
    sequences: "memory does not depend on it: --cache-tokens has it counted for several texts",
    maxWaiting: "memory does not depend on it",
    profile: "nothing is run",
  }).action(async (argument: string | undefined, flags: Flags, command: Command) => {
    const file = await openGguf(await modelPath(givenModel(argument, command)), openFile);
    try {
      const report = await inspect(file, flags);
      await (flags.json ? writeJson(report) : write(format(report)));
    } finally {
      await file.close();
    }
  });
}

type Report = Awaited<ReturnType<typeof inspect>>;

async function inspect(file: GgufFile, flags: Flags) {
  const gpu = openGpu();
  const adapter = await gpu.requestAdapter();
  return {
    file: file.name,
    version: file.version,
    bytes: file.bytes,
    metadata: Object.fromEntries([...file.metadata].map(([key, value]) => [key, shorten(value)])),
    tensors: [...file.tensors.values()].map(({ name, type, shape, bytes }) => ({
      name,
      type,
      shape,
      bytes,
    })),
    adapter: adapter ? describeAdapter(adapter) : null,
    ...sampling(file),
    ...plan(file, flags),
  };
}

/** What the file says of sampling; no more than that it cannot be run if that is wrong. */
function sampling(file: GgufFile): { sampling?: FileSampling } {
  try {
    return { sampling: readFileSampling(file) };
  } catch (error) {
    if (error instanceof UserError) return {};
    throw error;
  }
}

/** The memory that running the file takes, or why it cannot be run. */
function plan(file: GgufFile, flags: Flags) {
  let config: ModelConfig;
  try {
    config = readModel(file).config;
  } catch (error) {
    if (error instanceof UserError) return { refused: error.message };
    throw error;
  }
  // Outside: a wrong flag is the user's mistake, not the file's.
  return { config, memory: planMemory(file, config, engineOptions(flags)) };
}

/** Vocabularies have a hundred thousand entries: arrays show their beginning. */
function shorten(value: MetadataValue): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object") return value;
  const items = Array.from<unknown>(value).map((item) =>
    typeof item === "bigint" ? item.toString() : item,
  );
  return items.length <= 8 ? items : { length: items.length, first: items.slice(0, 4) };
}

function samplingLines({ options, unused }: FileSampling = { options: {}, unused: [] }): string[] {
  const defaults = Object.entries(options).map(([name, value]) => `${name} ${value}`);
  return [
    ...(defaults.length > 0 ? ["", `sampling, if not told otherwise: ${defaults.join(", ")}`] : []),
    ...unused.map((key) => `not used: ${printableLine(key)}`),
  ];
}

function format(report: Report): string {
  const lines = [
    `${printableLine(report.file)}: GGUF version ${report.version}, ${size(report.bytes)}`,
    "",
    "metadata",
  ];
  for (const [key, value] of Object.entries(report.metadata)) {
    const text = JSON.stringify(value);
    lines.push(`  ${printableLine(key)} = ${text.length > 100 ? `${text.slice(0, 97)}...` : text}`);
  }
  lines.push("", `tensors (${report.tensors.length})`);
  for (const { name, type, shape, bytes } of report.tensors) {
    lines.push(
      `  ${printableLine(name).padEnd(32)} ${type.padEnd(7)} ${`[${shape.join(", ")}]`.padEnd(16)} ${size(bytes)}`,
    );
  }
  lines.push(...samplingLines(report.sampling));
  lines.push("", `adapter: ${report.adapter ?? "none; run `npm run setup`"}`);
  if (report.memory) {
    const { weights, cache, scratch, total, context } = report.memory;
    lines.push(
      `memory for a context of ${context}: ${total} bytes (${size(total)})`,
      `  weights ${weights}`,
      `  cache   ${cache}`,
      `  scratch ${scratch}`,
    );
  } else {
    lines.push(`cannot be run: ${printableLine(report.refused ?? "")}`);
  }
  return `${lines.join("\n")}\n`;
}
