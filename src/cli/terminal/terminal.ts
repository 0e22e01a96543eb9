// What commands print besides their result: warnings, a progress bar, timings, all on stderr.
// In this room: what all commands share of a terminal: options, input, progress. Not in it: how
// results look (reports/).

import { SingleBar } from "cli-progress";
import { Engine } from "../../engine/engine.ts";
import { type ModelFile, openModel } from "../../engine/model/open.ts";
import type { OpenedModel } from "../../engine/model/opened-model.ts";
import { type EngineOptions, type LoadProgress, resolveSetting } from "../../engine/options.ts";
import { localModel, type PullOptions } from "../../platform/models/pull.ts";
import { nodePlatform } from "../../platform/node.ts";
import { toJson } from "../reports/json.ts";
import { printable } from "./printable.ts";

/**
 * Opens a model, checks the request against its header with `check`, and only then loads it, with
 * warnings on stderr and, on a terminal, a progress bar; runs it and closes it in any case. `given`
 * are options, or tells them by the header.
 */
export async function withEngine<T>(
  path: string,
  given: EngineOptions | ((model: ModelFile) => EngineOptions),
  check: (model: OpenedModel) => void,
  use: (engine: Engine) => Promise<T>,
): Promise<T> {
  const model = await openModel(await modelPath(path), nodePlatform.openFile);
  let options: EngineOptions;
  try {
    options = typeof given === "function" ? given(model) : given;
    check({ ...model, setting: resolveSetting(model.config, options) });
  } catch (error) {
    await model.file.close();
    throw error;
  }
  const engine = await load(model, options);
  try {
    return await use(engine);
  } finally {
    await engine.close();
  }
}

/** Loads a model whose request needs no check; `quiet` leaves warnings and the bar out. */
export async function loadEngine(
  path: string,
  options: EngineOptions,
  { quiet = false }: { quiet?: boolean } = {},
): Promise<Engine> {
  const model = await openModel(await modelPath(path), nodePlatform.openFile);
  return quiet ? Engine.open(nodePlatform, model, options) : load(model, options);
}

async function load(model: ModelFile, options: EngineOptions): Promise<Engine> {
  const phases = phaseBars();
  try {
    return await Engine.open(nodePlatform, model, {
      ...options,
      onWarning: (message) => note(`warning: ${message}`),
      onProgress: phases.update,
    });
  } finally {
    phases.stop();
  }
}

/** The path of a model that a user names by path or name; one that is not here yet is fetched. */
export function modelPath(name: string): Promise<string> {
  return fetching((options) => localModel(name, options));
}

/** A command was stopped by Ctrl-C before it had a result. */
export class InterruptedError extends Error {}

/**
 * Fetches something with warnings and, on a terminal, a progress bar. Ctrl-C ends it with an
 * `InterruptedError`.
 */
export async function fetching<T>(work: (options: PullOptions) => Promise<T>): Promise<T> {
  const phases = phaseBars();
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  process.once("SIGINT", interrupt);
  try {
    return await work({
      onProgress: ({ done, total }) => phases.update({ phase: "download", done, total }),
      onWarning: (message) => {
        phases.stop();
        note(`warning: ${message}`);
      },
      signal: interruption.signal,
    });
  } catch (error) {
    if (!interruption.signal.aborted) throw error;
    throw new InterruptedError("[stopped; the same command goes on from there]");
  } finally {
    process.off("SIGINT", interrupt);
    phases.stop();
  }
}

/**
 * A bar for each phase, until it is done: of loading, and of a request that has to compile kernels.
 */
function phaseBars() {
  let phase: LoadProgress["phase"] | undefined;
  let bar: Progress | undefined;
  const stop = () => {
    bar?.stop();
    bar = undefined;
    phase = undefined;
  };
  const update = (now: LoadProgress) => {
    const [what, unit, scale] = PHASES[now.phase];
    if (now.phase !== phase) {
      stop();
      phase = now.phase;
      bar = progress(what, Math.ceil(now.total / scale), unit);
    }
    bar?.update(Math.ceil(now.done / scale));
    if (now.done === now.total) stop();
  };
  return { update, stop };
}

const PHASES = {
  download: ["fetching", "MB", 1e6],
  adapter: ["measuring the adapter, once on this machine", "trials", 1],
  weights: ["loading", "MB", 1e6],
  kernels: ["compiling", "kernels", 1],
} as const;

/** "load 0.45 s | compiled 18 kernels in 12.90 s": the two together are `loaded.ms`. */
export function loadInWords({ loaded: { ms, compiled } }: Engine): string {
  const { kernels, ms: waited } = compiled;
  return `load ${duration(ms - waited)} | compiled ${kernels} kernels in ${duration(waited)}`;
}

export interface Progress {
  update(done: number): void;
  stop(): void;
}

/** On a terminal, a bar on stderr with the time left; elsewhere nothing. `stop` takes it away. */
export function progress(what: string, total: number, unit: string): Progress {
  if (process.stderr.isTTY !== true) return { update: () => {}, stop: () => {} };
  const bar = new SingleBar({
    format: `${what} {bar} {value} of {total} ${unit} | {left} left`,
    clearOnComplete: true,
    // Cursor and line wrapping stay on, so nothing has to be restored after a signal.
    hideCursor: false,
    linewrap: true,
    stream: process.stderr,
  });
  const began = performance.now();
  bar.start(total, 0, { left: "?" });
  return {
    update: (done) => {
      const left = done > 0 ? ((performance.now() - began) / done) * (total - done) : undefined;
      bar.update(done, { left: left === undefined ? "?" : duration(left) });
    },
    stop: () => bar.stop(),
  };
}

/** Shows a bar while `work` goes on, as far as it tells. */
export async function withProgress<T>(
  what: string,
  unit: string,
  work: (onProgress: (done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  let bar: Progress | undefined;
  try {
    return await work((done, total) => {
      bar ??= progress(what, total, unit);
      bar.update(done);
    });
  } finally {
    bar?.stop();
  }
}

/** A signal that Ctrl-C raises once; a second Ctrl-C ends the process as usual. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  process.once("SIGINT", () => controller.abort());
  return controller.signal;
}

/** Writes a line to stderr: messages besides the result. */
export function note(text: string): void {
  process.stderr.write(`${printable(text)}\n`);
}

/**
 * Writes a report to stdout, and waits if the reader is slower. Control characters in it are
 * escaped: see printable.ts.
 */
export function write(text: string): Promise<void> {
  return send(printable(text));
}

/**
 * Writes a text itself, a prompt or what a model makes of it: exact, but that a terminal gets no
 * control characters.
 */
export function writeText(text: string): Promise<void> {
  return send(process.stdout.isTTY === true ? printable(text) : text);
}

function send(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

/** One line of JSON. An escaped control character in it is the same JSON. */
export function writeJson(value: unknown): Promise<void> {
  return write(`${toJson(value)}\n`);
}

/** "1.50 s", "12 ms" */
export function duration(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** "1.4 GB", "2.5 MB", "16 kB" in powers of ten, as disks are sold. */
export function size(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return power === 0 ? `${bytes} bytes` : `${(bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
}

/** Tokens a second, or 0 if nothing was timed. */
export function rate(tokens: number, ms: number): number {
  return ms > 0 ? (tokens * 1000) / ms : 0;
}
