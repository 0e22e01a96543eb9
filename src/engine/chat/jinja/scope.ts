import type { Value } from "./python/values.ts";

/** Variables, and those of the scopes around. */
export class Scope {
  readonly #variables = new Map<string, Value | undefined>();
  readonly #parent: Scope | undefined;

  /**
   * `hidden`: names without a value here until they are assigned, even if an outer scope has one.
   */
  constructor(parent?: Scope, hidden: readonly string[] = []) {
    this.#parent = parent;
    for (const name of hidden) this.#variables.set(name, undefined);
  }

  /** Undefined if there is no such variable. */
  get(name: string): Value | undefined {
    let scope: Scope | undefined = this;
    for (; scope; scope = scope.#parent) {
      const value = scope.#variables.get(name);
      if (value !== undefined) return value;
      if (scope.#variables.has(name)) return undefined;
    }
    return undefined;
  }

  set(name: string, value: Value | undefined): void {
    this.#variables.set(name, value);
  }

  /** All that have a value, of this scope and of those around it up to another. */
  collect(end: Scope | undefined): Map<string, Value> {
    const all =
      this.#parent === undefined || this.#parent === end ? new Map() : this.#parent.collect(end);
    for (const [name, value] of this.#variables) if (value !== undefined) all.set(name, value);
    return all;
  }
}
