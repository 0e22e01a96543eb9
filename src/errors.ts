/** A user's mistake, in one line; the command line exits with status 2 and shows no stack. */
export class UserError extends Error {
  override readonly name: string = "UserError";
}

/** The value of an option is refused. */
export class OptionError extends UserError {
  /** The option, as the API spells it. */
  readonly option: string;
  readonly #rest: string;

  /** `option` between "Invalid " and `rest`. */
  constructor(option: string, rest: string) {
    super(`Invalid ${option} ${rest}`);
    this.option = option;
    this.#rest = rest;
  }

  /** The same with another name of the option, such as a flag. */
  messageFor(name: string): string {
    return `Invalid ${name} ${this.#rest}`;
  }
}
