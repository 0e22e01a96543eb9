// Other engines, for comparison. They are no dependencies of the project: they live in a folder of their own, which git
// ignores, and come from the npm registry when a bench is asked to install them.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const FOLDER = join(import.meta.dirname, ".peers");
const LLAMA_CPP = "3.22.1";

function hasPeer(name: string): boolean {
  return existsSync(join(FOLDER, "node_modules", name, "package.json"));
}

/** llama.cpp's prebuilt binaries for this machine, a package for each backend. */
const BINARIES = `@node-llama-cpp/${{ linux: "linux", darwin: "mac", win32: "win" }[process.platform as string]}-${process.arch}`;

/** Whether llama.cpp is here with the binaries of a backend: a pack for a card has no other than Vulkan's. */
export function hasLlamaCpp(backend: "cpu" | "vulkan"): boolean {
  return hasPeer("node-llama-cpp") && hasPeer(backend === "cpu" ? BINARIES : `${BINARIES}-vulkan`);
}

/** Installs llama.cpp with its prebuilt CPU and Vulkan binaries, which are npm packages of their own. */
export function installPeers(): void {
  const packages = [
    `node-llama-cpp@${LLAMA_CPP}`,
    `${BINARIES}@${LLAMA_CPP}`,
    `${BINARIES}-vulkan@${LLAMA_CPP}`,
  ];
  console.error(`Installing ${packages.join(", ")} into ${FOLDER}`);
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, "package.json"), `{ "private": true, "type": "module" }\n`);
  // Its install script would look for a GPU and might download or compile; its optional packages are 1 GB of CUDA.
  const flags = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"];
  execFileSync("npm", ["install", ...flags, ...packages], { cwd: FOLDER, stdio: "inherit" });
}

export async function importPeer<Module>(name: string): Promise<Module> {
  const entry = createRequire(join(FOLDER, "package.json")).resolve(name);
  return (await import(pathToFileURL(entry).href)) as Module;
}
