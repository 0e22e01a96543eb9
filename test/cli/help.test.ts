// The help of every command: short by itself, whole on demand, with an example that can be typed as it stands.

import { describe, expect, test, vi } from "vitest";
import { program } from "../../src/cli/program.ts";
import type { Command } from "../../src/cli/terminal/command.ts";

const commandsOf = (command: Command): Command[] => [
  command,
  ...command.commands.flatMap((each) => commandsOf(each as Command)),
];
const nameOf = (command: Command): string =>
  command.parent ? `${nameOf(command.parent as Command)} ${command.name()}` : command.name();
const commands = commandsOf(program).map((command) => [nameOf(command), command] as const);

/** The words of a line as a shell would give them. */
const wordsOf = (line: string) =>
  [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word!);
const exampleOf = (help: string) => /\nExample:\n {2}(.+)\n/.exec(help)?.[1];

/** What a command prints that ends with status 0. */
async function print(args: readonly string[]): Promise<string> {
  let printed = "";
  const spy = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  try {
    await expect(program.parseAsync(args, { from: "user" })).rejects.toMatchObject({ exitCode: 0 });
  } finally {
    spy.mockRestore();
  }
  return printed;
}

/** The flags that a help has a line for. */
const flagsIn = (help: string) =>
  [...help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, flag]) => flag!);

test("there are commands with engine flags, and commands without", () => {
  const folds = ([, command]: (typeof commands)[number]) =>
    /--help-all/.test(command.helpInformation());
  expect(commands.filter(folds).length).toBeGreaterThan(12);
  expect(commands.filter((each) => !folds(each)).length).toBeGreaterThan(5);
});

describe.each(commands)("%s", (name, command) => {
  const words = name.split(" ").slice(1);
  const shown = command.options.filter(({ hidden }) => !hidden);

  test("--help leaves out the engine's flags and ends with the line that tells how many", async () => {
    const help = await print([...words, "--help"]);
    const folded = shown.filter(({ long }) => !flagsIn(help).includes(long!));
    const last = help.trimEnd().split("\n").at(-1)!;
    if (folded.length > 0) {
      expect(last).toBe(
        `--help-all also shows the ${folded.length} engine flags: how the model is loaded.`,
      );
      expect(folded.map(({ long }) => long)).toContain("--kv");
    } else if (command.commands.length > 0) {
      expect(last).toBe("--help-all shows all flags of all commands.");
    } else {
      expect(help).not.toContain("--help-all");
    }
  });

  test("--help-all shows every flag, wherever it stands", async () => {
    const help = await print([...words, "--help-all"]);
    const every = commandsOf(command).flatMap(({ options }) => options);
    for (const { long, hidden } of every) {
      if (!hidden) expect(flagsIn(help)).toContain(long);
    }
    expect(help.startsWith(`Usage: ${name} `)).toBe(true);
    if (command.options.some(({ long }) => long === "--json")) {
      expect(await print([...words, "--json", "--help-all", "anything"])).toBe(help);
    }
  });

  test("what is required stands in the usage", async () => {
    const [usage] = (await print([...words, "--help"])).split("\n");
    const required = shown.filter(({ mandatory }) => mandatory).map(({ flags }) => flags);
    for (const flags of required) expect(usage).toContain(` ${flags} `);
    expect(usage).toMatch(new RegExp(`^Usage: ${[name, ...required].join(" ")} \\[options\\]`));
  });

  test("the example can be typed as it stands", async () => {
    const help = await print([...words, "--help"]);
    const line = exampleOf(help);
    expect(line, "an example").toBeDefined();
    expect(help.match(/^Example:$/gm)?.length).toBe(1);
    const [first, ...typed] = wordsOf(line!);
    expect(first).toBe("dawnstream");
    if (command.commands.length === 0) expect(line!.startsWith(`${name}`)).toBe(true);
    let ran = 0;
    for (const [, each] of commands) {
      if (each.commands.length === 0) each.action(() => void ran++);
    }
    await program.parseAsync(typed, { from: "user" }); // refuses what is unknown, missing or too much
    expect(ran).toBe(1);
    for (const word of typed.filter((word) => word.startsWith("--"))) {
      expect(flagsIn(program.helpAll())).toContain(word);
    }
  });
});

test("a flag that --help leaves out is proposed for a misspelt one", async () => {
  const attempt = program.parseAsync(["generate", "Once", "--atention", "full"], { from: "user" });
  await expect(attempt).rejects.toThrow("(Did you mean --attention?)");
});
