// Reads keys that begin with the architecture's name, and checks them: some invalid numbers would
// otherwise fail in the kernels only.

import { UserError } from "../../errors.ts";
import type { GgufFile } from "../gguf/gguf.ts";
import { Metadata, type MetadataValue } from "../gguf/metadata.ts";

/** dawnstream cannot run the model, or a setting of it. */
export class UnsupportedError extends UserError {
  override readonly name = "UnsupportedError";
}

/** Typed access by the names of keys without the architecture's, such as "block_count". */
export class ModelMetadata extends Metadata {
  readonly #file: string;
  readonly #defaults: Readonly<Record<string, MetadataValue>>;
  readonly #ignored: readonly string[];

  /** `defaults`: the values of keys that the file may leave out; `ignored`: keys that are not read. */
  constructor(
    file: GgufFile,
    architecture: string,
    defaults: Readonly<Record<string, MetadataValue>> = {},
    ignored: readonly string[] = [],
  ) {
    super(file, `${architecture}.`);
    this.#file = file.name;
    this.#defaults = defaults;
    this.#ignored = ignored;
  }

  override value(name: string): MetadataValue | undefined {
    if (this.#ignored.includes(name)) return undefined;
    return super.value(name) ?? this.#defaults[name];
  }

  refuse(what: string): never {
    throw new UnsupportedError(`${this.#file}: ${what}`);
  }

  between(name: string, value: number, least: number, most: number): number {
    if (value >= least && value <= most) return value;
    return this.refuse(`${this.key(name)} must be from ${least} to ${most}, found ${value}.`);
  }

  /** A number within limits, or undefined if it is 0 or absent. */
  nonzero(name: string, least: number, most: number): number | undefined {
    const value = this.number(name, 0);
    return value === 0 ? undefined : this.between(name, value, least, most);
  }

  /** A positive integer. */
  count(name: string, absent?: number): number {
    return this.#positive(name, this.integer(name, absent));
  }

  /** A positive integer that may be given for each layer: all the same, or refused. */
  uniform(name: string, layers: number, absent?: number): number {
    const given = absent === undefined ? undefined : [absent];
    const each = new Set(this.integerPerLayer(name, layers, given));
    if (each.size > 1) {
      this.refuse(`${this.key(name)} differs from layer to layer, which is not supported.`);
    }
    return this.#positive(name, [...each][0]!);
  }

  #positive(name: string, value: number): number {
    if (value > 0) return value;
    return this.refuse(`${this.key(name)} must be positive, found ${value}.`);
  }
}
