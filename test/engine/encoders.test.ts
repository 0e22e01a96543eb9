// Encoders against a plain pass in f64: the states of every token, of several texts in one step, and what an encoder refuses.

import { describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { loadEngine } from "../support/engine.ts";
import { ENCODER_NAMES, encoderRecipe, recordedStates } from "../support/families/encoders.ts";
import { TOKENS } from "../support/families/golden.ts";
import { familyModel, TRAINED_CONTEXT } from "../support/families/model.ts";
import { LOWEST_RUNG } from "../support/gpu.ts";
import { nmse } from "../support/oracle.ts";

/** f32 sums of some hundred products against f64: the differences that were measured are below 1e-12. */
const ROUNDING = 1e-10;

/** The states [T, D] behind the last layer. */
async function statesOf(engine: Engine, tokens: readonly number[]): Promise<Float32Array> {
  const sequence = engine.sequence();
  const wanted = { kind: "hidden", depth: engine.config.layers } as const;
  const states = await engine.run({ sequence, tokens, wanted });
  sequence.clear();
  return states;
}

describe.each(ENCODER_NAMES)("%s", (name) => {
  const bytes = familyModel(encoderRecipe(name));
  const expected = recordedStates(name);

  test("states are those of the f64 pass, alone and beside other texts of the same step", async () => {
    const steps: number[] = [];
    const engine = await loadEngine(bytes, { onStep: ({ pieces }) => steps.push(pieces.length) });
    const alone = await statesOf(engine, TOKENS);
    expect(nmse(alone, expected)).toBeLessThan(ROUNDING);
    const others = [TOKENS.slice(0, 1), TOKENS.slice(3, 9), TOKENS, TOKENS.slice(0, 20)];
    const together = await Promise.all(others.map((ids) => statesOf(engine, ids)));
    expect(steps).toEqual([1, 4]);
    expect(nmse(together[2]!, expected)).toBeLessThan(ROUNDING);
    for (const [i, ids] of others.entries()) {
      expect(nmse(together[i]!, await statesOf(engine, ids)), `text ${i}`).toBeLessThan(ROUNDING);
    }
    // Both ways: the first token has seen the last.
    const D = engine.config.width;
    const cut = await statesOf(engine, TOKENS.slice(0, -1));
    const isSliding = name === "gemma-embedding";
    const first = nmse(cut.subarray(0, D), expected.subarray(0, D));
    expect(first).toBeGreaterThan(isSliding ? 1e-9 : 1e-6);
    await engine.close();
  });

  test("a vector is the mean of the states, of length 1", async () => {
    const engine = await loadEngine(bytes);
    const D = engine.config.width;
    const sums = Array.from({ length: D }, (_, i) =>
      TOKENS.reduce((sum, _, t) => sum + expected[t * D + i]!, 0),
    );
    const length = Math.hypot(...sums);
    const vector = await engine.embed(TOKENS);
    for (const [i, value] of vector.entries()) expect(value).toBeCloseTo(sums[i]! / length, 5);
    await engine.close();
  });

  test("the lowest rung gives the same states", async () => {
    const engine = await loadEngine(bytes, { device: LOWEST_RUNG });
    expect(nmse(await statesOf(engine, TOKENS), expected)).toBeLessThan(ROUNDING);
    await engine.close();
  });
});

describe("what an encoder is not asked for", () => {
  const bytes = familyModel(encoderRecipe("bert"));

  test("next tokens, and logits", async () => {
    const engine = await loadEngine(bytes);
    const line = "tiny is an encoder: it turns texts into vectors (embed) and generates none";
    await expect(engine.complete([2, 3])).rejects.toThrow(line);
    await expect(engine.score([2, 3])).rejects.toThrow(line);
    const rows = { sequence: engine.sequence(), tokens: [2], wanted: { kind: "logits", rows: 1 } };
    expect(() => engine.run(rows as never)).toThrow(line);
    await engine.close();
  });

  test("a text beyond its context", async () => {
    const engine = await loadEngine(bytes);
    const long = new Array<number>(TRAINED_CONTEXT + 1).fill(2);
    const line = `${TRAINED_CONTEXT + 1} tokens exceed the context of ${TRAINED_CONTEXT}: cut the text.`;
    await expect(engine.embed(long)).rejects.toThrow(line);
    await engine.close();
  });

  test.each([
    [{ attention: "window:8" }, "Invalid attention"],
    [{ chunk: 8 }, "Invalid chunk 8: tiny is an encoder"],
    [{ keys: "raw" }, 'Invalid keys "raw"'],
    [
      { context: TRAINED_CONTEXT + 1 },
      `A context of ${TRAINED_CONTEXT + 1} is more than tiny can have`,
    ],
    [{ rope: "linear:2" }, 'Invalid rope "linear:2"'],
  ] as const)("%j", async (options, line) => {
    await expect(loadEngine(bytes, options)).rejects.toThrow(line);
  });
});
