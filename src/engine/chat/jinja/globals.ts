// The functions that every template has: Jinja's own, and those that transformers add.

import { ITEM_SIZE } from "../limits.ts";
import { RaisedError, TemplateRuntimeError, UnsupportedError } from "./errors.ts";
import type { Meter } from "./meter.ts";
import { bind, intOf, stringOf } from "./python/arguments.ts";
import { textOf } from "./python/printing.ts";
import { strftime } from "./python/strftime.ts";
import {
  Callable,
  Dict,
  iterate,
  type Keywords,
  Namespace,
  Range,
  Undefined,
  type Value,
} from "./python/values.ts";
import { Cycler, Joiner } from "./things.ts";

/** Jinja's sandbox makes no longer ones. */
const LONGEST_RANGE = 100_000;

export function globals(meter: Meter, now: () => Date): [string, Value][] {
  return [
    ["range", new Callable((args, keywords) => range(args, keywords, meter))],
    ["dict", new Callable((args, keywords) => dict(args, keywords, meter), "<class 'dict'>")],
    [
      "namespace",
      new Callable(
        (args, keywords) => new Namespace(dict(args, keywords, meter)),
        "<class 'jinja2.utils.Namespace'>",
      ),
    ],
    ["cycler", new Callable((args) => new Cycler(args), "<class 'jinja2.utils.Cycler'>")],
    [
      "joiner",
      new Callable((args, keywords) => {
        const [separator = ", "] = bind("joiner()", "| sep", args, keywords);
        return new Joiner(separator);
      }, "<class 'jinja2.utils.Joiner'>"),
    ],
    [
      "lipsum",
      new Callable(() => {
        throw new UnsupportedError("random");
      }),
    ],
    [
      "raise_exception",
      new Callable((args, keywords) => {
        const [message] = bind("raise_exception()", "message", args, keywords);
        throw new RaisedError(textOf(message!, meter));
      }),
    ],
    [
      "strftime_now",
      new Callable((args, keywords) => {
        const [format] = bind("strftime_now()", "format", args, keywords);
        return strftime(now(), stringOf(format!, "a format of time"));
      }),
    ],
  ];
}

function range(args: readonly Value[], keywords: Keywords, meter: Meter): Range {
  if (args.length < 1 || args.length > 3 || keywords.size > 0) {
    throw new TemplateRuntimeError("range() takes one to three whole numbers");
  }
  const bounds = args.map((bound) => intOf(bound, "a bound of range()"));
  const [start, stop, step = 1] = bounds.length === 1 ? [0, bounds[0]!] : bounds;
  if (step === 0) throw new TemplateRuntimeError("range() takes no step of zero");
  const result = new Range(start!, stop!, step);
  meter.checkSize(ITEM_SIZE * result.length);
  if (result.length > LONGEST_RANGE) {
    throw new TemplateRuntimeError(`range() makes no more than ${LONGEST_RANGE} numbers`);
  }
  return result;
}

function dict(args: readonly Value[], keywords: Keywords, meter: Meter): Dict {
  if (args.length > 1) throw new TemplateRuntimeError("dict() takes one mapping");
  const made = new Dict();
  const [source] = args;
  if (source instanceof Dict) for (const [key, value] of source.entries()) made.set(key, value);
  else if (source instanceof Undefined) source.fail();
  else if (source !== undefined) {
    for (const item of iterate(source)) {
      meter.step(1);
      const pair = [...iterate(item)];
      if (pair.length !== 2) throw new TemplateRuntimeError("dict() needs pairs");
      made.set(pair[0]!, pair[1]!);
    }
  }
  for (const [key, value] of keywords) made.set(key, value);
  return meter.made(made);
}
