// The models that were fetched: what there is, how much room it takes, and how it goes away.

import { modelsFolder } from "../../platform/models/model-cache.ts";
import {
  removeModels,
  type StoredModel,
  storedModels,
} from "../../platform/models/stored-models.ts";
import { table } from "../reports/table.ts";
import { Command } from "../terminal/command.ts";
import { size, write, writeJson } from "../terminal/terminal.ts";

interface Flags {
  readonly remove?: string;
  readonly json?: boolean;
}

/** `dawnstream models` */
export function modelsCommand(): Command {
  return new Command("models")
    .description("list the models that were fetched, or remove one")
    .example("dawnstream models --remove hf:unsloth/SmolLM2-135M-Instruct-GGUF:Q4_K_M")
    .option(
      "--remove <name>",
      "a name of the list, hf:OWNER/REPO for all of a repository, or hf:OWNER/REPO:QUANT",
    )
    .option("--json", "print one object")
    .action(async ({ remove, json }: Flags) => {
      const models = await (remove === undefined ? storedModels() : removeModels(remove));
      if (json) return writeJson(inJson(models, remove !== undefined));
      await write(remove === undefined ? listOf(models) : removalOf(models));
    });
}

function inJson(models: readonly StoredModel[], areRemoved: boolean) {
  const bytes = bytesOf(models);
  const listed = models.map(({ files, used, ...model }) => ({
    ...model,
    used: used.toISOString(),
    files: files.map(({ path }) => path),
  }));
  return { folder: modelsFolder(), bytes, [areRemoved ? "removed" : "models"]: listed };
}

function listOf(models: readonly StoredModel[]): string {
  const rows = models.map(({ name, bytes, used, isComplete }) => [
    name,
    size(bytes),
    used.toISOString().slice(0, 16).replace("T", " "),
    isComplete ? "" : "incomplete",
  ]);
  const list = models.length === 0 ? "" : `${table(["model", "size", "last used", ""], rows)}\n`;
  return `${list}${countOf(models)} in ${modelsFolder()}\n`;
}

function removalOf(models: readonly StoredModel[]): string {
  const names = models.map(({ name }) => `${name}\n`).join("");
  return `${names}removed ${countOf(models)}\n`;
}

function countOf(models: readonly StoredModel[]): string {
  return `${models.length} ${models.length === 1 ? "model" : "models"}, ${size(bytesOf(models))}`;
}

function bytesOf(models: readonly StoredModel[]): number {
  return models.reduce((sum, { bytes }) => sum + bytes, 0);
}
