// Files that are incomplete, one beside its target for each process that fetches it:
// `NAME.gguf.VERSION.PROCESS-MACHINE.part`. A process writes its own only, and adopts what another
// has left by renaming it, which succeeds for one of them. So two processes never write one file.

import { createHash } from "node:crypto";
import { readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";

/** A process that is at work says so by the time of its file, this often in milliseconds. */
const SIGN_MS = 15_000;
/** A file whose process may still be there is waited for while it was changed in this time, */
const BUSY_MS = 60_000;
/** and adopted if it was not in this time. Between the two it is left alone. */
const LEFT_MS = 600_000;

/** A file that is incomplete. */
export interface Draft {
  readonly path: string;
  /** What it is a part of. */
  readonly target: string;
  /** Of the version that it will be. */
  readonly key: string;
  readonly bytes: number;
  /** Of the last change. */
  readonly time: Date;
  /** "busy": its process is at work; "left": none is; "unsure": it cannot be told. */
  readonly state: "busy" | "left" | "unsure";
}

/** The drafts that this process has claimed. */
const claimed = new Map<string, NodeJS.Timeout>();

const machine = digest(hostname()).slice(0, 6);

/** A short name for a text of any length. */
export function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

/** All drafts in a folder; none if it cannot be read. */
export async function draftsIn(folder: string): Promise<Draft[]> {
  const names = await readdir(folder).catch(() => []);
  const drafts = await Promise.all(names.map((name) => draftOf(join(folder, name))));
  return drafts.filter((draft) => draft !== undefined);
}

async function draftOf(path: string): Promise<Draft | undefined> {
  const [, target, key, pid, host] =
    /^(.+\.gguf)\.([0-9a-f]{12})\.(\d+)-([0-9a-f]{6})\.part$/s.exec(path) ?? [];
  if (target === undefined || key === undefined) return undefined;
  const stats = await stat(path).catch(() => undefined);
  if (!stats?.isFile()) return undefined;
  const silence = Date.now() - stats.mtimeMs;
  const canRun = host === machine ? isRunning(path, Number(pid)) : true;
  const state = !canRun || silence > LEFT_MS ? "left" : silence < BUSY_MS ? "busy" : "unsure";
  return { path, target, key, bytes: stats.size, time: stats.mtime, state };
}

function isRunning(path: string, pid: number): boolean {
  if (pid === process.pid) return claimed.has(path);
  try {
    process.kill(pid, 0); // sends nothing
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // another user's
  }
}

/**
 * The path of a draft that only this process writes, with what another has left of this version;
 * undefined if another one is at work. Drafts of other versions that were left are removed. Call
 * `release` in the end.
 */
export async function claimDraft(target: string, key: string): Promise<string | undefined> {
  const own = join(dirname(target), `${basename(target)}.${key}.${process.pid}-${machine}.part`);
  if (claimed.has(own)) return undefined;
  // Before anything is awaited, so that another pull in this process finds it taken.
  claimed.set(own, setInterval(() => void sign(own), SIGN_MS).unref());
  try {
    const others = (await draftsIn(dirname(target))).filter(
      (draft) => draft.target === target && draft.path !== own,
    );
    if (others.some((draft) => draft.key === key && draft.state === "busy")) {
      release(own);
      return undefined;
    }
    const left = others.filter(({ state }) => state === "left");
    if (await adopt(left, key, own)) return own;
    release(own);
    return undefined;
  } catch (error) {
    release(own);
    throw error;
  }
}

/**
 * Takes the longest of the drafts that are of this version, and removes the rest. False if another
 * process was faster.
 */
async function adopt(left: readonly Draft[], key: string, own: string): Promise<boolean> {
  const there = (await stat(own).catch(() => undefined))?.size ?? 0;
  const usable = left.filter((draft) => draft.key === key && draft.bytes > there);
  const [longest] = usable.toSorted((a, b) => b.bytes - a.bytes);
  if (longest !== undefined) {
    try {
      await rename(longest.path, own);
    } catch {
      return false;
    }
    await sign(own);
  }
  for (const { path } of left) {
    if (path !== longest?.path) await rm(path, { force: true }).catch(() => {});
  }
  return true;
}

async function sign(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => {}); // it may not be there yet, or not any more
}

/** Lets another process have a draft. */
export function release(path: string): void {
  clearInterval(claimed.get(path));
  claimed.delete(path);
}
