// What filters sort, group and choose by.

import { ITEM_SIZE } from "../../limits.ts";
import { itemOf } from "../attributes.ts";
import type { Meter } from "../meter.ts";
import { compare } from "../python/comparing.ts";
import { asText, iterate, List, Undefined, type Value } from "../python/values.ts";
import type { Runtime } from "../runtime.ts";

export type Getter = (item: Value) => Value;

export const lowered: Getter = (value) => {
  const text = asText(value);
  return text === undefined ? value : text.toLowerCase();
};

/** What leads to an attribute: "a.0.b", or a place in a list. */
function pathOf(attribute: Value): readonly Value[] {
  if (attribute === null) return [];
  const text = asText(attribute);
  if (text === undefined) return [attribute];
  return text.split(".").map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

export function getter(attribute: Value, { meter }: Runtime, otherwise: Value = null): Getter {
  const path = pathOf(attribute);
  meter.scan(8 * path.length);
  return (item) => {
    for (const part of path) {
      meter.step(1);
      item = itemOf(item, part, meter);
      if (otherwise !== null && item instanceof Undefined) item = otherwise;
    }
    return item;
  };
}

/** Of several attributes with commas between them. */
export function keysOf(attribute: Value, runtime: Runtime, isCased: boolean): Getter {
  const text = asText(attribute);
  const getters = (text === undefined ? [attribute] : text.split(",")).map((path) =>
    getter(path, runtime),
  );
  return (item) => new List(getters.map((get) => (isCased ? get(item) : lowered(get(item)))));
}

/** All items, each counted. */
export function all(value: Value, { meter }: Runtime): Value[] {
  const items: Value[] = [];
  for (const item of iterate(value)) {
    items.push(item);
    meter.checkSize(ITEM_SIZE * items.length);
  }
  meter.step(items.length);
  return items;
}

export function sortedBy(
  items: readonly Value[],
  key: Getter,
  isReverse: boolean,
  meter: Meter,
): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  // Reversed, equals stay in their order.
  const sign = isReverse ? -1 : 1;
  const order = ({ key: a }: { key: Value }, { key: b }: { key: Value }) =>
    sign * (compare(b, a, meter, "<") < 0 ? 1 : compare(a, b, meter, "<") < 0 ? -1 : 0);
  return keyed.sort(order).map(({ item }) => item);
}
