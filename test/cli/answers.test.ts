// Several answers by a command line.

import { describe, expect, test } from "vitest";
import { roomForAnswers } from "../../src/cli/commands/generate.ts";
import { openModel } from "../../src/engine/model/open.ts";
import { resolveSetting } from "../../src/engine/options.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { json } from "../support/cli.ts";
import { fixtureModel } from "../support/models.ts";

interface Answer {
  readonly text: string;
  readonly seed: number;
}

const MODEL = fixtureModel("stories260K-Q8_0.gguf");

describe("--answers", () => {
  test.each([2, 5])("%d find room at the same time, however long they are", async (answers) => {
    const model = await openModel(MODEL, nodePlatform.openFile);
    await model.file.close();
    const context = 128;
    for (const maxTokens of [undefined, 100, 120]) {
      const options = {
        context,
        ...roomForAnswers(model, "Once", { model: MODEL, context, answers, maxTokens } as never),
      };
      const { cache } = resolveSetting(model.config, options);
      const each = Math.ceil(Math.min(context, 5 + (maxTokens ?? context)) / cache.shape.pageSize);
      expect(cache.groups[0]!.pages).toBeGreaterThanOrEqual(answers * each + 1); // and the prompt
      // No more than that by a page each: a small answer does not take a large cache.
      expect(cache.groups[0]!.pages).toBeLessThanOrEqual((answers + 1) * (each + 1));
    }
    expect(
      roomForAnswers(model, "Once", { model: MODEL, answers, cacheTokens: 64 } as never),
    ).toEqual({});
  });

  test("are in --json, with their seeds", async () => {
    const flags = [
      "--model",
      MODEL,
      "--answers",
      "3",
      "--seed",
      "7",
      "--max-tokens",
      "4",
      "--json",
    ];
    const { answers, text } = await json<Answer & { answers: Answer[] }>([
      "generate",
      "Once upon",
      ...flags,
    ]);
    expect(answers.map(({ seed }) => seed)).toEqual([7, 8, 9]);
    expect(answers[0]!.text).toBe(text);
    for (const [i, { text }] of answers.entries()) {
      const alone = flags.filter((_, at) => at !== 2 && at !== 3).with(3, String(7 + i));
      expect((await json<Answer>(["generate", "Once upon", ...alone])).text).toBe(text);
    }
  });
});
