// Methods whose frequencies depend on more than a factor, against the vectors of independent programs; and the choice
// of a method for a length.

import { describe, expect, test } from "vitest";
import {
  checkRope,
  chooseRope,
  formatRope,
  parseRope,
  withFreqScale,
} from "../../src/context/positions/rope-choice.ts";
import {
  createRope,
  type RopeModel,
  type RopeScaling,
} from "../../src/context/positions/rope-scaling.ts";
import { UserError } from "../../src/errors.ts";
import { rope } from "../../src/kernels/reference.ts";
import { expectClose } from "../support/numbers.ts";

const X = Float64Array.from({ length: 8 }, (_, i) => i + 1);
const model = (width: number, base = 1e4, originalContext = 2048): RopeModel => ({
  width,
  base,
  originalContext,
});
const at = (m: RopeModel, scaling: RopeScaling, length: number) =>
  createRope(m, scaling).frequencies(length);

// Printed with nine digits: 1e-7 is what they can tell.
const REL = { rel: 1e-7 };

describe("golden vectors: x = 1..8 at position 5", () => {
  const longrope: RopeModel = {
    ...model(8, 1e4, 4096),
    context: 131072,
    divisors: {
      short: new Float32Array([1, 1, 1, 1]),
      long: new Float32Array([1, 1.5, 4, 16]),
      attentionFactor: Math.sqrt(1 + Math.log(32) / Math.log(4096)),
    },
  };
  test.each([
    [
      "dynamic-ntk",
      model(8),
      { kind: "dynamic-ntk", factor: 2 },
      4096,
      [
        2.20151073, -0.391599904, 1.46240599, 4.78135637, 4.8543445, 6.11844257, 6.98665695,
        8.01165555,
      ],
    ],
    [
      "llama3",
      model(8, 5e5, 8192),
      { kind: "llama3", factor: 8, low: 1, high: 4 },
      1,
      [
        2.20151073, -0.391599904, 2.19942652, 4.49026981, 4.98423742, 6.01310048, 6.99973408,
        8.00023267,
      ],
    ],
    [
      "longrope",
      longrope,
      { kind: "longrope" },
      1,
      [
        2.62032189, -0.466097114, 1.81641286, 5.66721369, 5.8614599, 7.21525845, 8.3286905,
        9.52450775,
      ],
    ],
  ] as const)("%s", (_, m, scaling, length, expected) => {
    const { theta, magnitude } = at(m, scaling, length);
    const rotated = rope(
      X,
      theta.map((t) => 5 * t),
      1,
      magnitude,
    );
    expectClose(rotated, expected, REL, "rotated");
  });

  test("longrope within the original length uses the short factors", () => {
    const { theta } = at({ ...longrope, context: 4096 }, { kind: "longrope" }, 1);
    expectClose(theta, [1, 0.1, 0.01, 0.001], REL, "theta");
  });

  test("longrope without factors in the file is refused", () => {
    expect(() => at(model(8), { kind: "longrope" }, 1)).toThrow(UserError);
  });
});

describe("dynamic NTK", () => {
  const rope2 = createRope(model(8), { kind: "dynamic-ntk", factor: 2 });

  test("does nothing up to the trained length, then moves with every token", () => {
    const plain = at(model(8), { kind: "none" }, 1).theta;
    expect(rope2.frequencies(2048).theta).toEqual(plain);
    expect(rope2.frequencies(2000).theta).toEqual(plain);
    expect(rope2.frequencies(2049).theta).not.toEqual(plain);
    expect(rope2.movesBeyond).toBe(2048);
  });

  test("with factor 1 at four times the length it is NTK with factor 4", () => {
    const { theta } = at(model(8), { kind: "dynamic-ntk", factor: 1 }, 8192);
    expectClose(theta, at(model(8), { kind: "ntk", factor: 4 }, 1).theta, { rel: 1e-12 }, "theta");
  });

  test("agrees with Hugging Face's snapshot (d = 128, L = 2048, s = 10, n = 16384)", () => {
    const { theta } = at(model(128), { kind: "dynamic-ntk", factor: 10 }, 16384);
    // The snapshot has five digits.
    expectClose([theta[1]!, theta[63]!], [8.0931e-1, 1.6265e-6], { rel: 1e-4 }, "theta");
  });

  test("agrees with the vectors of d = 64 (s = 4, n = 8192)", () => {
    const { theta } = at(model(64), { kind: "dynamic-ntk", factor: 4 }, 8192);
    const expected = [1, 0.0515858686, 0.00266110184, 1.3727525e-4, 1.02578572e-5];
    expectClose(
      [0, 8, 16, 24, 31].map((i) => theta[i]!),
      expected,
      REL,
      "theta",
    );
  });
});

test("llama3 gives the divisors that Llama 3.2 1B carries in its file", () => {
  const plain = at(model(64, 5e5, 8192), { kind: "none" }, 1).theta;
  const { theta } = at(model(64, 5e5, 8192), { kind: "llama3", factor: 32 }, 1);
  const divisors = plain.map((value, i) => value / theta[i]!);
  expectClose(divisors.slice(0, 15), new Array(15).fill(1), REL, "short waves");
  expectClose(divisors.slice(15, 18), [1.65132925, 3.2922621, 9.66672898], REL, "blended waves");
  expectClose(divisors.slice(18), new Array(14).fill(32), REL, "long waves");
});

describe("what a user may write", () => {
  test.each([
    "none",
    "longrope",
    "linear:2",
    "ntk:2.5",
    "dynamic-ntk:2",
    "yarn:4:2048",
    "llama3:8",
    "llama3:8:8192",
    "yarn:4:fast=16",
    "yarn:4:2048:fast=16:slow=2:attention=1.25",
    "llama3:8:8192:low=2:high=8",
  ])("%s", (text) => expect(formatRope(parseRope(text))).toBe(text));

  test.each([
    "dynamic-ntk",
    "dynamic-ntk:2:2048",
    "longrope:2",
    "llama3:0.5",
    "ntk:2:2048",
    "yarn:4:fast",
    "yarn:4:fast=",
    "yarn:4:fast=1:slow=2",
    "yarn:4:fast=8:fast=9",
    "yarn:4:attention=0",
    "yarn:4:low=1",
    "linear:4:fast=8",
    "llama3:8:low=4:high=4",
  ])("not %s", (text) => {
    expect(() => parseRope(text)).toThrow(UserError);
  });

  test("betas and the attention factor do what the paper says", () => {
    // Rotations 4 and 2 within 2048 positions fall at pairs 1.91 and 2.21 of 4: pairs up to 1 stay, from 3 on are divided.
    const scaling = parseRope("yarn:4:fast=4:slow=2:attention=1.25");
    const { theta, magnitude } = at(model(8), scaling, 1);
    expectClose(theta, [1, 0.1, 0.01 * (0.5 / 4 + 0.5), 0.001 / 4], REL, "theta");
    expect(magnitude).toBe(1.25);
  });

  test("a frequency scale takes the place of the factor", () => {
    expect(withFreqScale({ kind: "none" }, 0.25)).toEqual({ kind: "linear", factor: 4 });
    expect(withFreqScale(parseRope("yarn:2:512"), 0.25)).toEqual(parseRope("yarn:4:512"));
    expect(withFreqScale({ kind: "longrope" }, undefined)).toEqual({ kind: "longrope" });
    for (const scale of [0, -1, 2, Number.NaN])
      expect(() => withFreqScale({ kind: "none" }, scale)).toThrow(/frequency scale/);
    expect(() => withFreqScale({ kind: "ntk", factor: 2 }, 0.5)).toThrow(/not with ntk:2/);
  });

  test("an object is checked as well", () => {
    expect(checkRope({ kind: "yarn", factor: 2 })).toEqual({ kind: "yarn", factor: 2 });
    for (const bad of [
      { kind: "linear", factor: 0.5 },
      { kind: "yarn" },
      { kind: "magic", factor: 2 },
    ])
      expect(() => checkRope(bad as RopeScaling)).toThrow(UserError);
  });
});

describe("the choice for a length", () => {
  const llama = { trainedContext: 4096, originalContext: 4096, scaling: { kind: "none" } } as const;

  test("is what the file says within the trained length", () => {
    expect(chooseRope(llama, 4096).scaling).toEqual({ kind: "none" });
  });

  test("is YaRN beyond it, with a factor that covers the length", () => {
    const { scaling, reason } = chooseRope(llama, 16384);
    expect(scaling).toEqual({ kind: "yarn", factor: 4 });
    expect(reason).toContain("16384");
    expect(chooseRope(llama, 9000).scaling).toEqual({ kind: "yarn", factor: 2.25 });
  });

  test("keeps the method that a model was trained with, counted from its original length", () => {
    const scaled = {
      trainedContext: 16384,
      originalContext: 4096,
      scaling: { kind: "linear", factor: 4 },
    } as const;
    expect(chooseRope(scaled, 16384).scaling).toEqual({ kind: "linear", factor: 4 });
    expect(chooseRope(scaled, 32768).scaling).toEqual({ kind: "linear", factor: 8 });
  });
});
