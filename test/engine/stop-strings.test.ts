import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StopStrings } from "../../src/engine/sampler/stop-strings.ts";
import { UserError } from "../../src/errors.ts";

/** The naive way: after every character, look whether the whole text so far ends in a stop string. */
function cutNaively(text: string, stops: readonly string[]): { text: string; stopped?: string } {
  const longestFirst = [...stops].sort((a, b) => b.length - a.length);
  for (let end = 1; end <= text.length; end++) {
    const stopped = longestFirst.find((stop) => text.slice(0, end).endsWith(stop));
    if (stopped !== undefined) return { text: text.slice(0, end - stopped.length), stopped };
  }
  return { text };
}

function stream(pieces: readonly string[], stops: readonly string[]) {
  const matcher = new StopStrings(stops);
  const outputs = pieces.map((piece) => matcher.push(piece));
  const text = outputs.map((output) => output.text).join("") + matcher.flush();
  const stopped = outputs.at(-1)?.stopped;
  return { text, ...(stopped !== undefined && { stopped }) };
}

describe("StopStrings", () => {
  // Two letters only: stop strings then overlap themselves, each other and the text all the time.
  const word = (minLength: number, maxLength: number) =>
    fc.string({ unit: fc.constantFrom("a", "b"), minLength, maxLength });
  const pieces = fc.array(word(0, 5), { maxLength: 12 });
  const stops = fc.array(word(1, 5), { maxLength: 3 });

  test("gives what looking at the whole text after every character gives, however it is cut", () => {
    fc.assert(
      fc.property(pieces, stops, (pieces, stops) => {
        expect(stream(pieces, stops)).toEqual(cutNaively(pieces.join(""), stops));
      }),
      { numRuns: 2000 },
    );
  });

  test("never gives out the start of a stop string, and never holds back anything else", () => {
    fc.assert(
      fc.property(pieces, stops, (pieces, stops) => {
        const matcher = new StopStrings(stops);
        let seen = "";
        let given = "";
        for (const piece of pieces) {
          const output = matcher.push(piece);
          seen += piece;
          given += output.text;
          if (output.stopped !== undefined) return;
          const held = seen.slice(given.length);
          const starts = (tail: string) => stops.some((stop) => tail && stop.startsWith(tail));
          expect(held === "" || starts(held)).toBe(true);
          for (let i = 0; i < given.length; i++) expect(starts(seen.slice(i))).toBe(false);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("lets text through at once where no stop string can have begun", () => {
    const matcher = new StopStrings(["\n\n", "END"]);
    expect(matcher.push("one\n")).toEqual({ text: "one" });
    expect(matcher.push("two E")).toEqual({ text: "\ntwo " });
    expect(matcher.push("N")).toEqual({ text: "" });
    expect(matcher.push("d")).toEqual({ text: "ENd" });
    expect(matcher.push("\n\nthree")).toEqual({ text: "", stopped: "\n\n" });
  });

  test("says nothing more after the stop", () => {
    const matcher = new StopStrings(["stop"]);
    matcher.push("a stop b");
    expect(matcher.push("c")).toEqual({ text: "", stopped: "stop" });
    expect(matcher.flush()).toBe("");
  });

  test("without stop strings everything comes out as it came in", () => {
    const matcher = new StopStrings([]);
    expect(matcher.push("any\n")).toEqual({ text: "any\n" });
    expect(matcher.flush()).toBe("");
  });

  test("refuses an empty stop string", () => {
    expect(() => new StopStrings(["a", ""])).toThrow(UserError);
  });

  describe("with control tokens, which are no text", () => {
    const isControl = (stop: string) => stop.includes("<x>");
    /** "<x>" is the token, all else text. */
    const run = (stops: readonly string[], pieces: readonly string[]) => {
      const matcher = new StopStrings(stops, isControl);
      const outputs = pieces.map((piece) =>
        piece === "<x>" ? matcher.pushControl(piece) : matcher.push(piece),
      );
      const text = outputs.map((output) => output.text).join("") + matcher.flush();
      return [text, outputs.find(({ stopped }) => stopped !== undefined)?.stopped];
    };

    test.each<[readonly string[], readonly string[], string, string?]>([
      [["<x>"], ["a", "<x>", "b"], "a", "<x>"],
      [["b<x>c"], ["a", "b", "<x>", "cd"], "a", "b<x>c"],
      [["b<x>c"], ["a", "b", "<x>", "d"], "abd"],
      [["<x>\nUser"], ["a", "<x>", "\n", "User:"], "a", "<x>\nUser"],
      [["<x>\nUser"], ["a", "<x>", "\n", "Us"], "a\nUs"],
      // A stop string of text only is one whatever stands in it.
      [["bc"], ["ab", "<x>", "cd"], "a", "bc"],
      [["bc", "<x>d"], ["ab", "<x>", "cd"], "a", "bc"],
      [["bc", "b<x>"], ["ab", "<x>", "cd"], "a", "b<x>"],
      [["bcd", "cd<x>"], ["ab", "cd", "<x>"], "a", "bcd"],
      [[], ["a", "<x>", "b"], "ab"],
      [["zz"], ["a", "<x>", "b"], "ab"],
    ])("%j in %j", (stops, pieces, text, stopped) => {
      expect(run(stops, pieces)).toEqual([text, stopped]);
    });
  });
});
