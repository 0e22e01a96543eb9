// Templates that mean harm: each is stopped by a limit that is named, soon, and with little memory taken; and none
// reaches anything of JavaScript's.

import { describe, expect, test } from "vitest";
import { ChatTemplate } from "../../../src/engine/chat/chat-template.ts";
import { type Limit, TemplateLimitError } from "../../../src/engine/chat/limits.ts";
import { UserError } from "../../../src/errors.ts";

const render = (source: string, content = "x") =>
  new ChatTemplate(source, { bos: "<s>", eos: "</s>" }).render([{ role: "user", content }]);

/** A string of 2^power characters. */
const string = (power: number) =>
  `{% set ns = namespace(s='ab') %}{% for i in range(${power - 1}) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}`;
/** A list of 2^power items. */
const list = (power: number, item = "1") =>
  `{% set ns = namespace(l=[${item}]) %}{% for i in range(${power}) %}{% set ns.l = ns.l + ns.l %}{% endfor %}`;
const forever = (body: string) =>
  `${"{% for i in range(100000) %}".repeat(4)}${body}${"{% endfor %}".repeat(4)}`;

/** Microseconds of all threads, many times what the limits of work let through on a slow machine. */
const SOON = 10e6;
/** Bytes. What is let through takes less; what is not would take gigabytes. */
const LITTLE = 400e6;

function stopped(source: string, limits: readonly Limit[], content?: string): void {
  const before = process.memoryUsage().rss;
  const began = process.cpuUsage();
  let error: unknown;
  try {
    render(source, content);
  } catch (thrown) {
    error = thrown;
  }
  const { user, system } = process.cpuUsage(began);
  const grown = process.memoryUsage().rss - before;
  expect(error).toBeInstanceOf(TemplateLimitError);
  expect(limits).toContain((error as TemplateLimitError).limit);
  expect(String(error)).toMatch(/^[^\n]*limit of [^\n]*$/);
  expect(user + system).toBeLessThan(SOON);
  expect(grown).toBeLessThan(LITTLE);
}

const LONG: readonly Limit[] = ["steps"];
const WRITTEN: readonly Limit[] = ["memory", "output"];

describe("is stopped:", () => {
  test.each<[string, string, readonly Limit[]]>([
    ["loops in loops", forever("{{ i }}"), LONG],
    ["loops without a body", forever(""), LONG],
    ["loops that only test", forever("{% if i > 5 and 'a' in 'b' %}{% endif %}"), LONG],
    ["a loop that filters", forever("{% for j in range(100000) if false %}{% endfor %}"), LONG],
    ["a macro that calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ["nesting"]],
    [
      "macros that branch",
      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(30) }}",
      LONG,
    ],
    [
      "a caller that calls",
      "{% macro m() %}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}{{ n() }}{% endcall %}{% endmacro %}{{ n() }}",
      ["nesting"],
    ],
    ["brackets without end", `{{ ${"[".repeat(300)}${"]".repeat(300)} }}`, ["nesting"]],
    ["a long sum", `{{ ${"1 + ".repeat(1000)}1 }}`, ["nesting"]],
    [
      "lists in lists",
      "{% set ns = namespace(l=[]) %}{% for i in range(100) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
      ["nesting"],
    ],
    ["a huge range", "{{ range(10 ** 9) | length }}", ["size"]],
    [
      "a range that does not advance",
      "{{ range(9007199254740000, 9007199254740990, 1) | length }}{{ range(10 ** 15, 10 ** 15 + 10 ** 7) | length }}",
      ["size"],
    ],
    ["a string that doubles", `${string(40)}{{ ns.s }}`, ["size"]],
    ["a list that doubles", `${list(40)}{{ ns.l | length }}`, ["size"]],
    [
      "lists that share",
      "{% set ns = namespace(l=['aaaaaaaa']) %}{% for i in range(40) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}",
      ["size"],
    ],
    [
      "mappings that share",
      "{% set ns = namespace(l={}) %}{% for i in range(40) %}{% set ns.l = {'a': ns.l, 'b': ns.l} %}{% endfor %}{{ ns.l }}",
      ["size"],
    ],
    ["much output", `${string(16)}{% for i in range(1000) %}{{ ns.s }}{% endfor %}`, ["output"]],
    [
      "lists written out again and again",
      `${list(14)}{% for i in range(100000) %}{{ ns.l }}{% endfor %}`,
      WRITTEN,
    ],
    ["the same without a loop", `${list(14)}${"{{ ns.l }}".repeat(10_000)}`, WRITTEN],
    [
      "copies in many variables",
      `${list(16)}${Array.from({ length: 3000 }, (_, i) => `{% set v${i} = ns.l[:] %}`).join("")}`,
      ["memory"],
    ],
    [
      "copies in upper case",
      `${string(20)}${Array.from({ length: 3000 }, (_, i) => `{% set v${i} = ns.s | upper %}`).join("")}`,
      ["memory"],
    ],
    ["join with a long separator", `${string(19)}{{ range(100000) | join(ns.s) }}`, ["size"]],
    ["join of characters", `${string(18)}{{ ns.s | join(ns.s) }}`, ["size"]],
    ["join by a keyword", `${string(18)}{{ range(1000) | join(d=ns.s) }}`, ["size"]],
    [
      "join by unpacking",
      `${string(18)}{% set a = [ns.s] %}{{ range(1000) | join(*a) }}`,
      ["size"],
    ],
    ["replace with much", `${string(19)}{{ ns.s | replace('a', ns.s) }}`, ["size"]],
    ["replace nothing with much", `${string(19)}{{ ns.s.replace('', ns.s) }}`, ["size"]],
    [
      "replace, kept in a variable",
      `${string(19)}{% set f = ns.s.replace %}{{ f('a', ns.s) }}`,
      ["size"],
    ],
    ["replace, by its name", `${string(19)}{{ ns.s['replace']('a', ns.s) }}`, ["size"]],
    ["indent by much", "{{ 'a\\nb' | indent(10 ** 9) }}", ["size"]],
    [
      "indent many lines",
      `${string(16)}{{ (ns.s | replace('b', '\\n')) | indent(width=1000, first=true) }}`,
      ["size"],
    ],
    ["indent by much, the first line too", "{{ 'a\\nb' | indent(10 ** 8, true) }}", ["size"]],
    ["indent a block", "{% filter indent(10 ** 9) %}a\n\nb{% endfilter %}", ["size"]],
    ["tojson indented by much", "{{ messages | tojson(indent=10 ** 9) }}", ["size"]],
    [
      "tojson with long separators",
      `${string(19)}{{ messages | tojson(separators=(ns.s, ns.s)) }}`,
      ["size"],
    ],
    ["a long string taken apart", `${string(20)}{{ ns.s | list | length }}`, ["size"]],
    ["a long string split", `${string(20)}{{ ns.s.split('b') | length }}`, ["size"]],
    ["a long string split at blanks", `${string(20)}{{ ns.s.split() | length }}`, ["size"]],
    [
      "a search that begins anew everywhere",
      `${string(16)}{% set n = ns.s | replace('b', 'a') %}{% set t = ${"n ~ ".repeat(8)}n %}{{ ('b' ~ n) in t }}`,
      ["work"],
    ],
    [
      "a long path into many items",
      `${string(17)}{% set p = ns.s | replace('ab', 'real.') ~ 'real' %}{{ range(1000) | map(attribute=p) | list }}`,
      LONG,
    ],
    [
      "a long path to sort by",
      `${string(17)}{% set p = ns.s | replace('ab', 'real.') ~ 'real' %}{{ range(1000) | sort(attribute=p) }}`,
      LONG,
    ],
    [
      "a namespace of the longest",
      `${string(19)}{% set ns.a = ns.s ~ '1' %}{% set ns.b = ns.s ~ '2' %}{% set ns.c = ns.s ~ '3' %}{{ ns }}`,
      ["size"],
    ],
  ])("%s", (_, source, limits) => {
    stopped(source, limits);
  });

  test("a template of too many characters", () => {
    stopped("x".repeat(2 ** 17 + 1), ["source"]);
    expect(render(`{{ 1 ${" ".repeat(100_000)}-}}${" ".repeat(30_000)}`)).toBe("1");
  });

  test("what a long conversation allows is still little of it", () => {
    stopped(string(40), ["size"], "word ".repeat(400_000));
  });
});

/** What JavaScript's objects have, and Python's. */
const NAMES = [
  ..."__proto__ constructor prototype toString valueOf hasOwnProperty call apply bind".split(" "),
  ..."value type builtins _builtins arguments caller parent variables tests then".split(" "),
  ..."__class__ __init__ __globals__ __mro__ __subclasses__ __dict__ __getattribute__".split(" "),
];
const VALUES = [
  "messages",
  "messages[0]",
  "''",
  "1",
  "true",
  "none",
  "[]",
  "{}",
  "range",
  "namespace",
  "''.upper",
  "namespace()",
  "loop",
];

describe("reaches nothing of JavaScript's:", () => {
  test.each(VALUES)("by the names of what %s is made of", (value) => {
    for (const name of NAMES) {
      for (const access of [`.${name}`, `['${name}']`]) {
        const inLoop = `{% for x in [1] %}{{ ${value}${access} }}{% endfor %}`;
        expect(render(inLoop), inLoop).toBe("");
        expect(() => render(`{{ (${value})${access}('return 1')() }}`)).toThrow(UserError);
        expect(() => render(`{{ (${value})${access}.constructor('return 1')() }}`)).toThrow(
          UserError,
        );
      }
    }
  });

  test.each([
    "process",
    "globalThis",
    "require",
    "this",
    "window",
    "eval",
    "Function",
    "console",
    "import",
    "undefined",
    ...NAMES,
  ])("by the name %s", (name) => {
    expect(render(`{{ ${name} }}{{ ${name} is defined }}`)).toBe("False");
  });

  test("by a function's source", () => {
    for (const source of [
      "{{ range }}",
      "{{ range ~ '' }}",
      "{{ '' + ''.upper }}",
      "{{ [range] | join }}",
      "{{ [range] }}",
      "{{ {'a': range} }}",
      "{{ {'a': range} | tojson }}",
      "{{ range | string }}",
      "{{ namespace(a=range) }}",
      "{% macro m() %}{{ varargs | join }}{% endmacro %}{{ m(range) }}",
    ]) {
      expect(() => render(source), source).toThrow(UserError);
    }
  });

  test("by keys that would change the prototypes of all", () => {
    const before = Object.getOwnPropertyNames(Object.prototype);
    expect(
      render(
        "{% set ns = namespace(__proto__={'polluted': 'yes'}) %}{% set ns.__proto__ = {'polluted': 'yes'} %}" +
          "{% set ns.constructor = 'x' %}{% set d = {'__proto__': {'polluted': 'yes'}, 'constructor': 'y'} %}" +
          "{% set __proto__ = 'z' %}{% set n2 = namespace(d) %}{{ ns.polluted }}{{ d.polluted }}{{ n2.polluted }}" +
          "{{ d.constructor }}{{ __proto__ }}{{ d | tojson }}",
      ),
    ).toBe('yz{"__proto__": {"polluted": "yes"}, "constructor": "y"}');
    expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before);
    expect(({} as { polluted?: string }).polluted).toBeUndefined();
    expect(render("{{ true }} {{ [].length }} {{ '' is string }}")).toBe("True  True");
  });

  test("what one rendering defines is gone in the next", () => {
    const template = new ChatTemplate(
      "{{ seen }}{% set seen = 'again' %}{% set range = 1 %}{{ seen }}",
    );
    for (const _ of [1, 2]) expect(template.render([{ role: "user", content: "x" }])).toBe("again");
  });

  // Oracle: Jinja2 3.1.6, by hand.
  test("by a namespace that holds itself", () => {
    const itself = "{% set ns = namespace() %}{% set ns.a = ns %}";
    expect(render(`${itself}{{ ns }}`)).toBe("<Namespace {'a': <Namespace {...}>}>");
    expect(
      render(
        "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ a == b }}{{ a == a }}",
      ),
    ).toBe("FalseTrue");
    expect(() => render(`${itself}{{ [ns] | tojson }}`)).toThrow(/cannot be written as JSON/);
  });
});

test("ordinary work on a long conversation is let through", () => {
  const template = new ChatTemplate(
    "{% set ns = namespace(n=0, all='') %}{% for m in messages %}{% if '</think>' in m.content and messages[loop.index0 - 1].role == 'user' %}" +
      "{% set c = m.content.split('</think>')[-1].strip() %}{% else %}{% set c = m.content | trim %}{% endif %}" +
      "{% set ns.n = ns.n + messages | length %}<|{{ m.role }}|>{{ c | replace('<', '&lt;') | replace('>', '&gt;') }}{{ messages | selectattr('role', 'equalto', 'system') | list | length }}\n{% endfor %}{{ ns.n }}",
  );
  const turns = Array.from({ length: 300 }, (_, i) => ({
    role: i % 2 ? ("assistant" as const) : ("user" as const),
    content: `${i} <think>${"why ".repeat(100)}</think> ${"because ".repeat(100)}\n`,
  }));
  expect(template.render(turns)).toMatch(/^<\|user\|>0 &lt;think.*90000$/s);
  const book = [{ role: "user" as const, content: "A long line of text <b>. ".repeat(40_000) }];
  expect(template.render(book).length).toBeGreaterThan(book[0]!.content.length);
});
