// On a terminal a bar shows what loading does. Whatever ends the process then, the terminal is as it was.

import { spawn, spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { SHIPPED_MODEL } from "../../src/index.ts";
import { MAIN } from "../support/cli.ts";

const hasTerminal = spawnSync("script", ["--version"]).status === 0;
if (!hasTerminal) console.warn("SKIPPED: no `script` of util-linux, which gives a terminal.");

describe.skipIf(!hasTerminal)("a bar", () => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "switches nothing off that %s would leave off",
    async (signal) => {
      const command = `echo pid=$$; exec ${process.execPath} ${MAIN} generate Once --model ${SHIPPED_MODEL} -n 400`;
      const shell = spawn("script", ["-qec", command, "/dev/null"]);
      let shown = "";
      let isSent = false;
      shell.stdout.setEncoding("utf8").on("data", (text: string) => {
        shown += text;
        const pid = /pid=(\d+)/.exec(shown)?.[1];
        if (isSent || pid === undefined || !shown.includes("loading ")) return;
        isSent = true;
        process.kill(Number(pid), signal);
      });
      await new Promise((resolve) => shell.on("close", resolve));
      expect(isSent).toBe(true);
      expect(shown).toContain("of 3 MB");
      expect(shown).not.toContain("\u001b[?25l"); // hides the cursor
      expect(shown).not.toContain("\u001b[?7l"); // ends the wrapping of lines
    },
  );
});
