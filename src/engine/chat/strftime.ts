/** Python's `strftime` as templates use it, in English as Python's "C" locale has it. What is not known here stays. */
export function strftime(date: Date, format: string): string {
  const english = (options: Intl.DateTimeFormatOptions) =>
    new Intl.DateTimeFormat("en-US", options).format(date);
  const digits = (value: number, length: number) => String(value).padStart(length, "0");
  const hours = date.getHours();
  const fields: Readonly<Record<string, () => string>> = {
    Y: () => String(date.getFullYear()),
    y: () => digits(date.getFullYear() % 100, 2),
    m: () => digits(date.getMonth() + 1, 2),
    d: () => digits(date.getDate(), 2),
    B: () => english({ month: "long" }),
    b: () => english({ month: "short" }),
    A: () => english({ weekday: "long" }),
    a: () => english({ weekday: "short" }),
    H: () => digits(hours, 2),
    I: () => digits(hours % 12 || 12, 2),
    p: () => (hours < 12 ? "AM" : "PM"),
    M: () => digits(date.getMinutes(), 2),
    S: () => digits(date.getSeconds(), 2),
    "%": () => "%",
  };
  return format.replace(/%([YymdBbAaHIpMS%])/g, (_, name: string) => fields[name]!());
}
