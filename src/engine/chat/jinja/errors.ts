// The errors of a template. `ChatTemplate` reports each to the user in one line.

/** The source is not valid Jinja. */
export class TemplateSyntaxError extends Error {
  override readonly name = "TemplateSyntaxError";
}

/** The template fails while it runs, as it would in Python. */
export class TemplateRuntimeError extends Error {
  override readonly name: string = "TemplateRuntimeError";
}

/** The template refuses what it was given, by `raise_exception`. */
export class RaisedError extends Error {
  override readonly name = "RaisedError";
}

/** What Jinja2 renders and this interpreter does not, and why. */
const UNSUPPORTED = {
  address: "it prints an address in Python's memory",
  random: "its text is another one each time",
  complex: "it takes a root of a negative number, and there are no complex numbers here",
  bytes: "there are no bytes here, only texts",
  names: "characters cannot be written by their names (\\N{…}) here",
  entities: "striptags knows no names of HTML's entities but those of & < > \" ' and the blank",
  pprint: "pprint writes what fits on a line of 80 characters only",
} as const;

export class UnsupportedError extends TemplateRuntimeError {
  override readonly name = "UnsupportedError";
  readonly reason: keyof typeof UNSUPPORTED;

  constructor(reason: keyof typeof UNSUPPORTED) {
    super(`${UNSUPPORTED[reason]} (Jinja2 renders this, dawnstream does not)`);
    this.reason = reason;
  }
}
