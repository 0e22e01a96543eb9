import { GgufError, type NumericArray, quote } from "./reader.ts";

/** A value as the file has it; a bigint only if a 64-bit value is not a safe integer. */
export type MetadataValue = number | bigint | boolean | string | MetadataArray;
export type MetadataArray = readonly string[] | readonly boolean[] | NumericArray;

/**
 * Typed access to a file's metadata. Each reader takes the key and, if the key may be absent, a
 * default; without one, an absent key is an error. A key of the wrong type is always an error: a
 * default must never hide what the file says. Converters disagree about integer types, so any is
 * accepted.
 */
export class Metadata {
  readonly #file: string;
  readonly #prefix: string;
  readonly #values: ReadonlyMap<string, MetadataValue>;

  /** Reads the keys that begin with `prefix`; names leave it out. */
  constructor(
    file: { readonly name: string; readonly metadata: ReadonlyMap<string, MetadataValue> },
    prefix = "",
  ) {
    this.#file = file.name;
    this.#prefix = prefix;
    this.#values = file.metadata;
  }

  /** The whole key, as in the file. */
  key(name: string): string {
    return this.#prefix + name;
  }

  has(key: string): boolean {
    return this.value(key) !== undefined;
  }

  /** A value of any type. */
  value(key: string): MetadataValue | undefined {
    return this.#values.get(this.key(key));
  }

  string<D = never>(key: string, absent?: D): string | D {
    return this.#read(key, "a string", asString, absent);
  }

  boolean<D = never>(key: string, absent?: D): boolean | D {
    return this.#read(key, "a boolean", asBoolean, absent);
  }

  integer<D = never>(key: string, absent?: D): number | D {
    return this.#read(key, "an integer", asInteger, absent);
  }

  /** Any number, integer or not. */
  number<D = never>(key: string, absent?: D): number | D {
    return this.#read(key, "a number", asNumber, absent);
  }

  strings<D = never>(key: string, absent?: D): readonly string[] | D {
    return this.#read(key, "an array of strings", asStrings, absent);
  }

  booleans<D = never>(key: string, absent?: D): readonly boolean[] | D {
    return this.#read(key, "an array of booleans", asBooleans, absent);
  }

  integers<D = never>(key: string, absent?: D): readonly number[] | D {
    return this.#read(key, "an array of integers", asIntegers, absent);
  }

  numbers<D = never>(key: string, absent?: D): ArrayLike<number> | D {
    return this.#read(key, "an array of numbers", asNumbers, absent);
  }

  /** One integer a layer, [L]: given as such, or once for all layers. */
  integerPerLayer<D = never>(key: string, layers: number, absent?: D): readonly number[] | D {
    const expected = `an integer, or an array of ${layers}, one a layer`;
    const convert = (value: MetadataValue): readonly number[] | undefined => {
      const one = asInteger(value);
      if (one !== undefined) return new Array<number>(layers).fill(one);
      const each = asIntegers(value);
      return each?.length === layers ? each : undefined;
    };
    return this.#read(key, expected, convert, absent);
  }

  /**
   * One boolean a layer, [L]: listed, or given as a period n: every n-th layer is false and the
   * others are true; if n is 0, all are true. `period` is the default of an absent key.
   */
  booleanPerLayer(key: string, layers: number, period: number): readonly boolean[] {
    const expected = `a period, or an array of ${layers} booleans, one a layer`;
    const ofPeriod = (n: number) =>
      Array.from({ length: layers }, (_, i) => n === 0 || i % n < n - 1);
    const convert = (value: MetadataValue): readonly boolean[] | undefined => {
      const n = asInteger(value);
      if (n !== undefined) return n < 0 ? undefined : ofPeriod(n);
      const each = asBooleans(value);
      return each?.length === layers ? each : undefined;
    };
    return this.#read(key, expected, convert, ofPeriod(period));
  }

  #read<T, D>(
    key: string,
    expected: string,
    convert: (value: MetadataValue) => T | undefined,
    absent: D | undefined,
  ): T | D {
    const value = this.value(key);
    if (value === undefined) {
      if (absent !== undefined) return absent;
      throw this.#error(key, expected, "no such key");
    }
    const converted = convert(value);
    if (converted === undefined) {
      throw this.#error(key, expected, describe(value));
    }
    return converted;
  }

  #error(key: string, expected: string, found: string): GgufError {
    const advice = "The model was converted for another program, or wrongly: take another copy.";
    return new GgufError({
      file: this.#file,
      expected: `key ${this.key(key)} to hold ${expected}`,
      found,
      advice,
    });
  }
}

function asString(value: MetadataValue): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function asBoolean(value: MetadataValue): boolean | undefined {
  return typeof value === "boolean" ? value : undefined;
}

function asNumber(value: MetadataValue): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function asInteger(value: MetadataValue): number | undefined {
  return Number.isSafeInteger(value) ? (value as number) : undefined;
}

function asStrings(value: MetadataValue): readonly string[] | undefined {
  return isArrayOf(value, "string") ? (value as readonly string[]) : undefined;
}

function asBooleans(value: MetadataValue): readonly boolean[] | undefined {
  return isArrayOf(value, "boolean") ? (value as readonly boolean[]) : undefined;
}

function asNumbers(value: MetadataValue): ArrayLike<number> | undefined {
  if (isArrayOf(value, "number")) return value as ArrayLike<number>;
  return asIntegers(value);
}

function asIntegers(value: MetadataValue): readonly number[] | undefined {
  if (typeof value !== "object") return undefined;
  const numbers = Array.from<unknown>(value).map((item) =>
    typeof item === "bigint" ? Number(item) : item,
  );
  return numbers.every(Number.isSafeInteger) ? (numbers as number[]) : undefined;
}

/** An array of GGUF has one type throughout, and an empty one is an array of anything. */
function isArrayOf(value: MetadataValue, type: "string" | "boolean" | "number"): boolean {
  return typeof value === "object" && (value.length === 0 || typeof value[0] === type);
}

function describe(value: MetadataValue): string {
  if (typeof value === "string") return `the string ${quote(value)}`;
  if (typeof value !== "object") return `the ${typeof value} ${value}`;
  const type = value.length === 0 ? "" : ` of type ${typeof value[0]}`;
  return `an array of ${value.length} items${type}`;
}
