// Python's `strftime`, as glibc has it in the "C" locale. What is not known stays as it is.

/**
 * `%-d`: no padding, `%_d`: blanks, `%0d`: zeros, `%^a`: capitals, `%#Z`: the other case; and a
 * width.
 */
const DIRECTIVE = /%([-_0^#]*)(\d*)(?:[EO]?)([a-zA-Z%+])/g;

const DAY = 24 * 60 * 60 * 1000;

export function strftime(date: Date, format: string): string {
  const english = (options: Intl.DateTimeFormatOptions) =>
    new Intl.DateTimeFormat("en-US", options).format(date);
  const year = date.getFullYear();
  const hours = date.getHours();
  const weekday = date.getDay();
  const midnight = Date.UTC(year, date.getMonth(), date.getDate());
  const dayOfYear = Math.round((midnight - Date.UTC(year, 0, 1)) / DAY) + 1;
  // The Thursday of a week says what year the week belongs to (ISO 8601).
  const thursday = new Date(midnight + (4 - (weekday || 7)) * DAY);
  const isoYear = thursday.getUTCFullYear();
  const isoWeek = Math.floor((thursday.getTime() - Date.UTC(isoYear, 0, 1)) / DAY / 7) + 1;
  const nested = (inner: string) => strftime(date, inner);

  /** Numbers with the width that they are padded to, and what they are padded with. */
  const numbers: Readonly<Record<string, readonly [number, number, string?]>> = {
    Y: [year, 1],
    C: [Math.floor(year / 100), 2],
    y: [year % 100, 2],
    G: [isoYear, 1],
    g: [isoYear % 100, 2],
    m: [date.getMonth() + 1, 2],
    d: [date.getDate(), 2],
    e: [date.getDate(), 2, " "],
    j: [dayOfYear, 3],
    U: [Math.floor((dayOfYear + 6 - weekday) / 7), 2],
    W: [Math.floor((dayOfYear + 6 - ((weekday + 6) % 7)) / 7), 2],
    V: [isoWeek, 2],
    u: [weekday || 7, 1],
    w: [weekday, 1],
    H: [hours, 2],
    k: [hours, 2, " "],
    I: [hours % 12 || 12, 2],
    l: [hours % 12 || 12, 2, " "],
    M: [date.getMinutes(), 2],
    S: [date.getSeconds(), 2],
    s: [Math.floor(date.getTime() / 1000), 1],
    f: [date.getMilliseconds() * 1000, 6],
  };
  const texts: Readonly<Record<string, () => string>> = {
    A: () => english({ weekday: "long" }),
    a: () => english({ weekday: "short" }),
    B: () => english({ month: "long" }),
    b: () => english({ month: "short" }),
    h: () => english({ month: "short" }),
    p: () => (hours < 12 ? "AM" : "PM"),
    P: () => (hours < 12 ? "am" : "pm"),
    c: () => nested("%a %b %e %H:%M:%S %Y"),
    D: () => nested("%m/%d/%y"),
    x: () => nested("%m/%d/%y"),
    F: () => nested("%Y-%m-%d"),
    r: () => nested("%I:%M:%S %p"),
    R: () => nested("%H:%M"),
    T: () => nested("%H:%M:%S"),
    X: () => nested("%H:%M:%S"),
    n: () => "\n",
    t: () => "\t",
    "%": () => "%",
    // A time without a zone.
    z: () => "",
    Z: () => "",
  };
  return format.replace(DIRECTIVE, (directive, flags: string, width: string, name: string) => {
    const number = numbers[name];
    let text: string;
    if (number !== undefined) {
      const [value, digits, fill = "0"] = number;
      const padding = flags.includes("_") ? " " : flags.includes("0") ? "0" : fill;
      const length = Math.min(Number(width) || (flags.includes("-") ? 0 : digits), 1000);
      text = String(value).padStart(length, padding);
    } else {
      const write = texts[name];
      if (write === undefined) return directive;
      text = write().padStart(Math.min(Number(width), 1000), flags.includes("0") ? "0" : " ");
    }
    if (flags.includes("^")) return text.toUpperCase();
    if (!flags.includes("#")) return text;
    return name === "p" ? text.toLowerCase() : text.toUpperCase();
  });
}
