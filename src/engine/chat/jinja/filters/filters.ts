// All of Jinja's filters; those of lists and mappings are here, those of texts, numbers and HTML
// beside.

import { ITEM_SIZE } from "../../limits.ts";
import { attributeOf } from "../attributes.ts";
import { TemplateRuntimeError, UnsupportedError } from "../errors.ts";
import type { Meter } from "../meter.ts";
import { intOf, isTrueOr } from "../python/arguments.ts";
import { operate } from "../python/arithmetic.ts";
import { compare, isEqual } from "../python/comparing.ts";
import { textOf } from "../python/printing.ts";
import {
  asText,
  Dict,
  Group,
  isTrue,
  itemsOf,
  iterate,
  type Keywords,
  Lazy,
  List,
  Markup,
  sizeOf,
  type Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "../python/values.ts";
import type { Operation, Runtime } from "../runtime.ts";
import { escaped, HTML_FILTERS } from "./html.ts";
import { all, type Getter, getter, keysOf, lowered, sortedBy } from "./keys.ts";
import { NUMBER_FILTERS } from "./numbers.ts";
import { TEXT_FILTERS } from "./texts.ts";

type Filter = Operation<Value>;

const extreme = (isBetter: (order: number) => boolean): Filter => ({
  parameters: "| case_sensitive attribute",
  run: (value, [isCased, attribute = null], runtime) => {
    const get = getter(attribute, runtime);
    const key: Getter = isTrueOr(isCased, false) ? get : (item) => lowered(get(item));
    let best: { item: Value; key: Value } | undefined;
    for (const item of all(value, runtime)) {
      const candidate = { item, key: key(item) };
      if (!best || isBetter(compare(candidate.key, best.key, runtime.meter, "<"))) best = candidate;
    }
    return best ? best.item : new Undefined("there is no item to choose from");
  },
});

/** `select` and its kin. `keeps`: the result of the test that an item stays with. */
const selecting = (keeps: boolean, hasAttribute: boolean): Filter => ({
  run: (value, given, runtime, keywords) => {
    const args = [...given] as Value[];
    return new Lazy(selected(value, args, runtime, keywords, keeps, hasAttribute));
  },
});

function* selected(
  value: Value,
  args: Value[],
  runtime: Runtime,
  keywords: Keywords,
  keeps: boolean,
  hasAttribute: boolean,
): Generator<Value> {
  if (!isTrue(value)) return;
  if (hasAttribute && args.length === 0) {
    throw new TemplateRuntimeError("an attribute is needed to select by");
  }
  const get: Getter = hasAttribute ? getter(args.shift()!, runtime) : (item) => item;
  const name = args.shift();
  for (const item of iterate(value)) {
    runtime.meter.step(1);
    const tested = get(item);
    const result = name === undefined ? isTrue(tested) : runtime.test(name, tested, args, keywords);
    if (result === keeps) yield item;
  }
}

function* mapping(
  value: Value,
  args: readonly Value[],
  runtime: Runtime,
  keywords: Keywords,
): Generator<Value> {
  if (!isTrue(value)) return;
  const [name, ...rest] = args;
  let apply: Getter;
  if (name === undefined) {
    const { attribute, default: otherwise = null, ...others } = Object.fromEntries(keywords);
    const [unknown] = Object.keys(others);
    if (attribute === undefined || unknown !== undefined) {
      throw new TemplateRuntimeError(
        unknown === undefined ? "map() needs a filter" : `map() takes no argument "${unknown}"`,
      );
    }
    apply = getter(attribute, runtime, otherwise);
  } else apply = (item) => runtime.filter(name, item, rest, keywords);
  for (const item of iterate(value)) {
    runtime.meter.step(1);
    yield apply(item);
  }
}

function* itemPairs(value: Value, meter: Meter): Generator<Value> {
  if (value instanceof Undefined) return;
  if (!(value instanceof Dict)) throw new TemplateRuntimeError("items needs a mapping");
  meter.step(value.size);
  yield* new View("items", value);
}

function* uniques(value: Value, key: Getter, meter: Meter): Generator<Value> {
  const seen = new Dict();
  for (const item of iterate(value)) {
    meter.step(1);
    const found = key(item);
    if (seen.has(found)) continue;
    seen.set(found, null);
    yield item;
  }
}

function* batches(value: Value, size: number, fill: Value, meter: Meter): Generator<Value> {
  let batch: Value[] = [];
  for (const item of iterate(value)) {
    meter.step(1);
    if (batch.length === size) {
      yield new List(batch);
      batch = [];
    }
    batch.push(item);
  }
  if (batch.length === 0) return;
  if (fill !== null) {
    meter.checkSize(ITEM_SIZE * size);
    while (batch.length < size) batch.push(fill);
  }
  yield new List(batch);
}

function* slices(value: Value, count: number, fill: Value, runtime: Runtime): Generator<Value> {
  const items = all(value, runtime);
  if (count === 0) throw new TemplateRuntimeError("slice() takes no zero");
  const size = Math.floor(items.length / count);
  const longer = ((items.length % count) + count) % count;
  let from = 0;
  for (let i = 0; i < count; i++) {
    runtime.meter.step(1);
    const to = from + size + (i < longer ? 1 : 0);
    const slice = items.slice(from, to);
    if (fill !== null && i >= longer) slice.push(fill);
    yield new List(slice);
    from = to;
  }
}

function groups(value: Value, given: readonly (Value | undefined)[], runtime: Runtime): Value {
  const [attribute, otherwise = null, isCased] = given;
  const get = getter(attribute!, runtime, otherwise);
  const key: Getter = isTrueOr(isCased, false) ? get : (item) => lowered(get(item));
  const { meter } = runtime;
  const found: { key: Value; items: Value[] }[] = [];
  for (const item of sortedBy(all(value, runtime), key, false, meter)) {
    const itemKey = key(item);
    const last = found.at(-1);
    if (last && isEqual(last.key, itemKey, meter)) last.items.push(item);
    else found.push({ key: itemKey, items: [item] });
  }
  return new List(found.map(({ items }) => new Group([get(items[0]!), new List(items)])));
}

function join(
  value: Value,
  [d = "", attribute = null]: readonly (Value | undefined)[],
  runtime: Runtime,
) {
  const { meter, autoescape } = runtime;
  const get: Getter = attribute === null ? (item) => item : getter(attribute, runtime);
  const parts = all(value, runtime).map(get);
  const isHtml = autoescape && [d, ...parts].some((part) => part instanceof Markup);
  const write = (part: Value) => (isHtml ? escaped(part, meter).text : textOf(part, meter));
  const separator = write(d);
  let size = 0;
  const texts = parts.map((part) => {
    const text = write(part);
    size += text.length + Math.max(separator.length, ITEM_SIZE);
    meter.checkSize(size);
    return text;
  });
  const joined = texts.join(separator);
  return isHtml ? new Markup(joined) : joined;
}

function last(value: Value): Value {
  const empty = new Undefined("there is no last item");
  if (value instanceof Undefined) return empty;
  const [item = empty] = reversed(value, "last()");
  return item;
}

/** From the end; only of what has a length. */
function reversed(value: Value, name: string): Value[] {
  if (value instanceof Lazy || itemsOf(value) === undefined) {
    throw new TemplateRuntimeError(`${name} cannot go through a ${typeName(value)} from its end`);
  }
  return [...iterate(value)].reverse();
}

function reverse(value: Value, runtime: Runtime): Value {
  const text = asText(value);
  runtime.meter.scan(sizeOf(value) ?? 0);
  if (text !== undefined) {
    const back = Array.from(text).reverse().join("");
    return value instanceof Markup ? new Markup(back) : back;
  }
  const items = value instanceof Lazy ? all(value, runtime).reverse() : reversed(value, "reverse");
  return value instanceof Lazy ? new List(items) : new Lazy(items.values());
}

function dictSort(value: Value, given: readonly (Value | undefined)[], { meter }: Runtime): Value {
  const [isCased, by = "key", isReverse] = given;
  if (value instanceof Undefined) value.fail();
  if (!(value instanceof Dict)) throw new TemplateRuntimeError("dictsort() needs a mapping");
  if (by !== "key" && by !== "value") {
    throw new TemplateRuntimeError('dictsort() sorts by "key" or by "value"');
  }
  const at = by === "key" ? 0 : 1;
  const key: Getter = (item) => {
    const part = (item as Tuple).items[at]!;
    return isTrueOr(isCased, false) ? part : lowered(part);
  };
  const items = [...new View("items", value)];
  return new List(sortedBy(items, key, isTrueOr(isReverse, false), meter));
}

const defaulted: Filter = {
  parameters: "| default_value boolean",
  run: (value, [otherwise = "", boolean]) =>
    value instanceof Undefined || (isTrueOr(boolean, false) && !isTrue(value)) ? otherwise : value,
};

const length: Filter = {
  parameters: "",
  run: (value, _, { meter }) => {
    const size = sizeOf(value);
    if (size === undefined) throw new TemplateRuntimeError(`a ${typeName(value)} has no length`);
    if (typeof value === "string") meter.scan(size);
    return size;
  },
};

export const FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ...TEXT_FILTERS,
  ...NUMBER_FILTERS,
  ...HTML_FILTERS,
  [
    "attr",
    {
      parameters: "name",
      run: (value, [name], { meter }) => {
        const text = asText(name!);
        if (text === undefined) throw new TemplateRuntimeError("attr() needs a name");
        if (value instanceof Undefined) value.fail();
        // The only attributes of a mapping are its methods.
        return attributeOf(
          value instanceof Dict && value.has(text) ? new Dict() : value,
          text,
          meter,
        );
      },
    },
  ],
  [
    "batch",
    {
      parameters: "linecount | fill_with",
      run: (value, [count, fill = null], { meter }) =>
        new Lazy(batches(value, intOf(count!, "a count"), fill, meter)),
    },
  ],
  ["count", length],
  ["d", defaulted],
  ["default", defaulted],
  ["dictsort", { parameters: "| case_sensitive by reverse", run: dictSort }],
  [
    "first",
    {
      parameters: "",
      run: (value) => {
        for (const item of iterate(value)) return item;
        return new Undefined("there is no first item");
      },
    },
  ],
  ["groupby", { parameters: "attribute | default case_sensitive", run: groups }],
  ["items", { parameters: "", run: (value, _, { meter }) => new Lazy(itemPairs(value, meter)) }],
  ["join", { parameters: "| d attribute", run: join }],
  ["last", { parameters: "", run: last }],
  ["length", length],
  ["list", { parameters: "", run: (value, _, runtime) => new List(all(value, runtime)) }],
  [
    "map",
    {
      run: (value, args, runtime, keywords) =>
        new Lazy(mapping(value, args as Value[], runtime, keywords)),
    },
  ],
  ["max", extreme((order) => order > 0)],
  ["min", extreme((order) => order < 0)],
  [
    "random",
    {
      parameters: "",
      run: () => {
        throw new UnsupportedError("random");
      },
    },
  ],
  ["reject", selecting(false, false)],
  ["rejectattr", selecting(false, true)],
  ["reverse", { parameters: "", run: (value, _, runtime) => reverse(value, runtime) }],
  ["select", selecting(true, false)],
  ["selectattr", selecting(true, true)],
  [
    "slice",
    {
      parameters: "slices | fill_with",
      run: (value, [count, fill = null], runtime) =>
        new Lazy(slices(value, intOf(count!, "a count"), fill, runtime)),
    },
  ],
  [
    "sort",
    {
      parameters: "| reverse case_sensitive attribute",
      run: (value, [isReverse, isCased, attribute = null], runtime) => {
        const key = keysOf(attribute, runtime, isTrueOr(isCased, false));
        const items = all(value, runtime);
        return new List(sortedBy(items, key, isTrueOr(isReverse, false), runtime.meter));
      },
    },
  ],
  [
    "sum",
    {
      parameters: "| attribute start",
      run: (value, [attribute = null, start = 0], runtime) => {
        const get: Getter = attribute === null ? (item) => item : getter(attribute, runtime);
        if (asText(start) !== undefined) throw new TemplateRuntimeError("sum() joins no texts");
        return all(value, runtime).reduce(
          (sum, item) => runtime.meter.made(operate("+", sum, get(item), runtime.meter)),
          start,
        );
      },
    },
  ],
  [
    "unique",
    {
      parameters: "| case_sensitive attribute",
      run: (value, [isCased, attribute = null], runtime) => {
        const get = getter(attribute, runtime);
        const key: Getter = isTrueOr(isCased, false) ? get : (item) => lowered(get(item));
        return new Lazy(uniques(value, key, runtime.meter));
      },
    },
  ],
]);
