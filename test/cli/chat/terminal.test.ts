// dawnstream chat on a terminal: what is pasted, recalled and interrupted, and that the terminal is left as it was.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadTokenizer, SHIPPED_MODEL } from "../../../src/index.ts";
import { temporaryFolder } from "../../support/cli.ts";
import { nodePrograms } from "../../support/nodes.ts";
import { type Dialogue, hasTerminal, typeInTerminal } from "../../support/terminal.ts";

const folder = temporaryFolder();
const tokenizer = await loadTokenizer(SHIPPED_MODEL);
const greeted = ["chat", "--max-tokens", "4", "--temperature", "0", "--template", "plain"];
const endless = [
  ...["chat", "--memory", "sinks:4+60", "--max-tokens", "1000000", "--template", "plain"],
  ...["--logit-bias", "2=-inf"],
];
const PASTES = "\x1b[?2004h";
const NO_PASTES = "\x1b[?2004l";
const paste = (text: string) => `\x1b[200~${text.replaceAll("\n", "\r")}\x1b[201~`;
const tokensOf = (message: string) => tokenizer.encode(`${message}\n\n`).length;

/** With a history of its own. However it ends, the terminal is as it was. */
async function chat(
  args: readonly string[],
  dialogue: Dialogue,
  { state = "none", node = process.execPath } = {},
) {
  const env = { XDG_STATE_HOME: join(folder, state), TERM: "xterm" };
  const run = await typeInTerminal(args, dialogue, { env, node });
  expect(run.output.split(PASTES).length).toBe(2);
  expect(run.output.lastIndexOf(NO_PASTES)).toBeGreaterThan(run.output.lastIndexOf("> "));
  return run;
}

function historyOf(state: string): string[] {
  const path = join(folder, state, "dawnstream/chat-history");
  return existsSync(path)
    ? readFileSync(path, "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as string)
    : [];
}

describe.skipIf(!hasTerminal)("on a terminal", () => {
  test.each(nodePrograms().found.map(({ version, path }) => [version, path]))(
    "pasted lines are one message, which can be edited and comes back: Node %s",
    async (version, node) => {
      const pasted = "Once upon a time\n  there was\n/bye\na cat";
      const { output, status } = await chat(
        greeted,
        [
          ["template: plain.*> ", `${paste(pasted)} and a dog`],
          ["and a dog", "\x1b[D\x1b[D\x1b[D"], // before "dog"
          ["", "big \r"],
          ["\\[prompt.*> ", "\x1b[A"],
          ["and a big dog", "\r"],
          ["\\[prompt.*> ", "/bye\r"],
        ],
        { state: version, node },
      );
      const said = `${pasted} and a big dog`;
      expect(output).toContain(`[prompt ${tokensOf(said)} tokens in`);
      expect(output.match(/\[prompt /g)).toHaveLength(2);
      expect(historyOf(version)).toEqual([said, "/bye"]);
      expect(status).toBe(0);
    },
  );

  test("Ctrl-C stops the answer and not the program, takes back a text, and then leaves", async () => {
    const { output, status } = await chat(endless, [
      ["> ", "Once upon a time\r"],
      ["\n.{20}", "lost\x03"], // an answer in work
      ["aborted\\].*> ", "half a mess\x03"],
      ["mess.*> ", '"""one\r'],
      ["\\.\\.\\. ", "two\x03"],
      ["two.*> ", '"""one\r'],
      ["\\.\\.\\. ", "\x03"],
      ["> ", "/context\r"],
      ["assistant: .*> ", "\x03"],
    ]);
    // What was said of the answer stays.
    expect(output).toMatch(/1 user: Once upon a time .*kept\r\n2 assistant: \S/);
    expect(output).not.toMatch(/lost|\d (user|assistant).*(mess|one|two)/);
    expect(status).toBe(130);
  });

  test("what is typed in an answer waits until it has ended, Ctrl-D too", async () => {
    const { output, status } = await chat(greeted, [["> ", "Once upon a time\rAnd then?\r\x04"]]);
    expect(output.match(/\[prompt /g)).toHaveLength(2);
    expect(output.lastIndexOf("And then?")).toBeGreaterThan(output.indexOf("[prompt"));
    expect(status).toBe(0);
  });

  test("quotes and backslashes are one entry, which comes back at once", async () => {
    const { output } = await chat(
      greeted,
      [
        ["> ", '"""One\r'],
        ["\\.\\.\\. ", 'two"""\r'],
        ["\\[prompt.*> ", "\x1b[A\r"],
        ["\\[prompt.*> ", "/system Be kind. \\\r"],
        ["\\.\\.\\. ", "Be brief.\r"],
        ["Be brief\\..*Be brief\\..*> ", "\x04"],
      ],
      { state: "quotes" },
    );
    expect(output).toContain(`[prompt ${tokensOf("One\ntwo")} tokens in`);
    expect(historyOf("quotes")).toEqual(["One\ntwo", "/system Be kind. \nBe brief."]);
  });

  test("a greeting tells of /help, a mistake is told and the chat goes on; Tab completes; /quit leaves", async () => {
    const { output, status } = await chat(greeted, [
      ["> ", "/sett\r"],
      ["did you mean /set\\?.*> ", "/set temp\t2x\r"],
      ['Invalid temperature "2x": expected a number\\..*> ', "/set temp\t2\r"],
      ["temperature +2\r.*> ", "/quit\r"],
    ]);
    expect(output).toContain(
      "tinystories-4m (tinystories-4m.Q4_K_M.gguf), chat template: plain. /help lists the commands, Ctrl-D leaves.",
    );
    expect(output).toContain("error: There is no command /sett: did you mean /set? There are ");
    expect(status).toBe(0);
  });

  test("nothing is kept with --no-history, and where nothing can be kept the chat goes on", async () => {
    const talk: Dialogue = [
      ["> ", "/usage\r"],
      ["Nothing has been said.*> ", "\x1b[A"],
      ["/usage", "\r"],
      ["Nothing has been said.*> ", "\x04"],
    ];
    await chat([...greeted, "--no-history"], talk, { state: "no-history" });
    expect(historyOf("no-history")).toEqual([]);
    writeFileSync(join(folder, "no-folder"), "");
    const { output, status } = await chat(greeted, talk, { state: "no-folder" });
    expect(output.match(/warning: The history of chats is not kept: /g)).toHaveLength(1);
    expect(status).toBe(0);
  });

  test.each<[string, Dialogue, number]>([
    ["SIGINT", [["> ", "SIGINT"]], 130],
    ["SIGHUP", [["> ", "SIGHUP"]], 129],
    [
      "SIGTERM",
      [
        ["> ", "Once\r"],
        ["\n.{20}", "SIGTERM"],
      ],
      143,
    ],
  ])(
    "%s ends the program as a shell expects, and leaves the terminal as it was",
    async (_, dialogue, status) => {
      expect((await chat(endless, dialogue)).status).toBe(status);
    },
  );
});
