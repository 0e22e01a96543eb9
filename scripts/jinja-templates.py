"""Writes test/fixtures/chat/generated-templates.json.gz: templates from a grammar over all of Jinja's constructs, and what
Jinja2 3.1.6 renders of them under the settings of transformers.

    pip install jinja2==3.1.6 && python scripts/jinja-templates.py

The test "generated templates" renders the same here. The texts are made up; the settings are in jinja_settings.py.
"""

import gzip
import json
import pathlib
import random
import re
import signal
import sys

from jinja_settings import TOOL, environment

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
OUT = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else (
    pathlib.Path(__file__).parent.parent / "test/fixtures/chat/generated-templates.json.gz"
)

CONTEXTS = [
    {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\n    x = 1\n    y = 2"},
            {"role": "user", "content": "  Four?\n"},
        ],
        "tools": None, "documents": None, "add_generation_prompt": True,
        "bos_token": "<s>", "eos_token": "</s>",
    },
    {
        "messages": [
            {"role": "user", "content": "Grüße, 世界 😀👍🏽! e\u0301 \u00a0\u2003x\u2028y\ufeffz"},
            {"role": "assistant", "content": "It's McDonald's \"burger\" & <b>fries</b>\r\n\tok", "name": None},
        ],
        "tools": None, "documents": None, "add_generation_prompt": False,
        "bos_token": "<|begin|>", "eos_token": "<|end|>",
    },
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image"}, {"type": "text", "text": "here"}]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "a1", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln", "days": 3, "ok": True}}}]},
            {"role": "tool", "content": "{\"t\": 12.5}", "tool_call_id": "a1"},
        ],
        "tools": [TOOL], "documents": [{"title": "A", "text": "ß ﬁ ǆ"}], "add_generation_prompt": True,
        "bos_token": "<s>", "eos_token": "</s>", "enable_thinking": False,
    },
    {
        "messages": [{"role": "user", "content": ""}],
        "tools": [], "documents": None, "add_generation_prompt": True, "eos_token": "",
        "n": 7, "f": -2.75, "big": 1234567890123456, "s": "a-b_c d", "words": ["pear", "Apple", "fig", "apple"],
        "rows": [{"k": "b", "v": 2}, {"k": "a", "v": 10, "w": {"x": [1, 2]}}, {"k": "B", "v": -1.5}],
        "map": {"z": 1, "items": 2, "a b": [True, None], "get": "g", "Ä": {"deep": {"er": "ü"}}},
    },
]

INDENTED_BY_TAB = "(indent='\\t')"
R = random.Random(SEED)
pick = R.choice


def chance(p):
    return R.random() < p


TEXTS = ["", "a", "Hello World", "  x  ", "a,b,,c", "it's", 'say \\"hi\\"', "Äpfel ß", "😀b", "\\n\\n x\\n", "<b>&amp;</b>",
         "AbC dEf", "-7", "3.50", "x-y-z", "%s", "{}", "role", "tab\\there", "user", "123", "abcabc", "the quick-brown fox jumps"]
CHARS = ["' '", "'#'", "'\\n'", "'a'", "'ab'", "', '", "'-'", "'x '", "','", "'ß'", "'l'"]
NAMES = ["nope", "n", "f", "s", "words", "rows", "map", "big", "bos_token", "eos_token", "tools", "documents",
         "add_generation_prompt", "enable_thinking", "messages"]


def q(text):
    return f'"{text}"' if ("'" in text or chance(0.2)) and '"' not in text.replace('\\"', "") else "'" + text.replace("'", "\\'").replace('\\"', '"') + "'"


def integer(d):
    r = R.random()
    if d <= 0 or r < 0.4:
        return str(pick([0, 1, 2, 3, 4, 5, 7, 10, 13, 100, 1000000, "0x1f", "0b101", "1_000", "loop.index" if LOOPS else 6]))
    return pick([
        lambda: f"{integer(d-1)} {pick(['+', '-', '*', '//', '%'])} {integer(d-1)}",
        lambda: f"(-{integer(d-1)})",
        lambda: f"({integer(d-1)} {pick(['//', '%', '-'])} {pick([2, 3, -3, 7])})",
        lambda: f"{text(d-1)} | {pick(['length', 'count', 'wordcount'])}",
        lambda: f"{lst(d-1)} | {pick(['length', 'sum', 'count'])}",
        lambda: f"{text(d-1)}.{pick(['count', 'find', 'rfind'])}({pick(CHARS)})",
        lambda: f"{pick(['-7', '3.99', text(d-1)])} | int",
        lambda: f"{text(d-1)} | int({pick(['0', '-1', 'none'])}{pick(['', ', 16', ', 2', ', 0'])})",
        lambda: f"{integer(d-1)} ** {pick([0, 1, 2, 3])}",
        lambda: f"({integer(d-1)}) | abs",
        lambda: pick(["big", "n", "2 ** 64", "(big * big)", "10 ** 20 // 7"]),
        lambda: f"loop.{pick(['index', 'index0', 'revindex', 'revindex0', 'length', 'depth', 'depth0'])}" if LOOPS else "1",
        lambda: f"messages | length",
    ])()


def floating(d):
    if d <= 0 or chance(0.3):
        return pick(["1.5", "0.1", "2.0", "1e3", "1e-7", "1.5e20", "-0.0", "3.14159", "2.675", "0.5", "1e16", "123456.789", "f"])
    return pick([
        lambda: f"{integer(d-1)} / {pick([2, 3, 4, 7])}",
        lambda: f"{floating(d-1)} {pick(['+', '-', '*', '/', '//', '%'])} {pick([2, 0.3, -1.5, 3])}",
        lambda: f"""{floating(d-1)} | round({pick(['', '0', '1', '2', '-1', "1, 'floor'", "0, 'ceil'", "2, method='common'"])})""",
        lambda: f"{text(d-1)} | float({pick(['', '1.5', 'none'])})",
        lambda: f"{integer(d-1)} ** -1",
        lambda: f"{floating(d-1)} ** {pick([2, 0.5, -1])}",
        lambda: f"{integer(d-1)} | float",
    ])()


def paren(e):
    return f"({e})" if chance(0.8) or " " in e else e


def text(d):
    if d <= 0 or chance(0.25):
        return pick([lambda: q(pick(TEXTS)), lambda: q(pick(TEXTS)), lambda: "messages[0].content", lambda: "messages[-1]['content']",
                     lambda: "messages[0].role", lambda: "bos_token", lambda: "s", lambda: "words[0]", lambda: q(pick(TEXTS)) + " " + q(pick(TEXTS))])()
    t = lambda: paren(text(d - 1))
    k = pick(["", "2", "3", "-1", "1", "0"])
    return pick([
        lambda: f"{t()} ~ {value(d-1)}",
        lambda: f"{t()} + {t()}",
        lambda: f"{t()} * {pick([0, 1, 2, 3, -1])}",
        lambda: f"{t()}[{pick(['0', '-1', '1:', ':2', '::2', '::-1', '-3:', '1:-1', ':-2:-1', '5'])}]",
        lambda: f"{t()}.{pick(['strip', 'lstrip', 'rstrip'])}({pick(['', pick(CHARS), 'none'])})",
        lambda: f"{t()}.{pick(['upper', 'lower', 'title', 'capitalize', 'swapcase', 'casefold', 'strip', 'expandtabs'])}()",
        lambda: f"""{t()}.{pick(['center', 'ljust', 'rjust'])}({pick(['3', '9', '12'])}{pick(['', ", '*'", ", 'é'"])})""",
        lambda: f"{t()}.zfill({pick(['3', '8'])})",
        lambda: f"{t()}.replace({pick(CHARS)}, {pick(CHARS)}{pick(['', ', 1', ', -1', ', 2'])})",
        lambda: f"{t()}.{pick(['removeprefix', 'removesuffix'])}({pick(CHARS)})",
        lambda: f"{t()}.{pick(['partition', 'rpartition'])}({pick(CHARS)})[{pick(['0', '1', '2', '-1'])}]",
        lambda: f"{t()}.{pick(['split', 'rsplit'])}({pick(['', pick(CHARS), pick(CHARS) + ', 1', 'none, 1', 'maxsplit=1', 'sep=' + pick(CHARS)])})[{pick(['0', '-1'])}]",
        lambda: f"{pick(CHARS)}.join({strings(d-1)})",
        lambda: f"{t()} | {pick(['upper', 'lower', 'title', 'capitalize', 'trim', 'string', 'e', 'escape', 'safe', 'forceescape', 'striptags', 'reverse', 'urlencode', 'first', 'last', 'urlize', 'pprint'])}",
        lambda: f"{t()} | trim({pick(CHARS)})",
        lambda: f"{t()} | replace({pick(CHARS)}, {pick(CHARS)}{pick(['', ', 1', ', count=2'])})",
        lambda: f"{t()} | center({pick(['', '5', '11', 'width=8'])})",
        lambda: f"""{t()} | indent({pick(['', '2', 'width=3, first=true', "'> '", '1, true, true', 'blank=true'])})""",
        lambda: f"""{t()} | truncate({pick(['5', '9, true', "10, false, '…'", '6, leeway=0', "8, true, end='', leeway=2"])})""",
        lambda: f"""{t()} | wordwrap({pick(['5', '8', '10, false', "4, wrapstring='|'", '7, break_on_hyphens=false', '12'])})""",
        lambda: f"{value(d-1)} | string",
        lambda: f"{value(d-1)} | default({q(pick(TEXTS))}{pick(['', ', true'])})",
        lambda: f"""{lst(d-1)} | join({pick(['', pick(CHARS), "', '"])})""",
        lambda: f"""{value(d-1)} | tojson{pick(['', '', '(indent=2)', '(sort_keys=true)', '(ensure_ascii=true)', "(separators=(',', ':'))", "(indent=4, separators=(';', '='))", INDENTED_BY_TAB])}""",
        lambda: f"'%s|%r' % ({value(d-1)}, {value(d-1)})",
        lambda: f"'{pick(['%5d', '%-5d|', '%+d', '%05d', '%x', '%#X', '%o', '% d', '%.3d', '%c', '%i%%'])}' % {pick(['42', '(97,)', integer(0)])}",
        lambda: f"'{pick(['%f', '%.2f', '%e', '%.3g', '%g', '%10.1f', '%-9.2e|', '%G', '%.0f', '%#.0f', '%08.3f'])}' % {paren(floating(d-1))}",
        lambda: f"'{pick(['%5s', '%-5s|', '%.2s', '%10.3r', '%a'])}' % {t()}",
        lambda: f"'%(a)s and %(b)d' % {{'a': {value(d-1)}, 'b': {integer(0)}}}",
        lambda: f"'{pick(['%s-%s', '%s', '%d%s', '%*d'])}' | format({value(d-1)}, {integer(0)})",
        lambda: f"'{pick(['{} {}', '{0}{1}{0}', '{a} {}', '{0!r}', '{:>6}|{}', '{{}}{}', '{0.real}', '{1[0]}', '{:{}}'])}'.format({value(d-1)}, {pick([text(0), integer(0)])}{pick(['', ', a=1'])})",
        lambda: f"'{{:{pick(['5d', '<6', '^7', '+', ',', '08.2f', '.3e', 'x', '#x', '_', '%', '.1%', '*^9', 'b', '.2f', 'g', '010,', '=+6', '>4'])}}}'.format({pick([integer(0), floating(0)])})",
        lambda: f"'{{:{pick(['5', '<6', '^7', '.2', '*>6', 's'])}}}'.format({t()})",
        lambda: f"{integer(d-1)} | filesizeformat{pick(['', '(true)'])}",
        lambda: f"strftime_now('{pick(['%Y-%m-%d', '%d %b %Y', '%A %B %-d', '%H:%M:%S', '%j %U %W %V', '%I %p', '%e|%k|%l', '%y%%', '%D %T', '%c', '%-m/%_d', '%^a', '%G-%V-%u', '%Q', '%F', '%x %X', '%w', '%05d', '%f'])}')",
        lambda: f"({t()} if {boolean(d-1)} else {t()})",
        lambda: f"({t()} if {boolean(d-1)})",
        lambda: f"""{t()}.{pick(['format_map({})', "translate({97: 'b', 98: none})", 'upper'])}""",
        lambda: f"{dct(d-1)} | xmlattr{pick(['', '(false)'])}",
        lambda: f"({t()} or {t()})",
    ])()


def strings(d):
    return pick([
        lambda: "['a', 'b']",
        lambda: "words",
        lambda: f"{paren(text(d-1))}.split({pick(CHARS)})",
        lambda: f"{paren(text(d-1))}.splitlines({pick(['', 'true'])})",
        lambda: f"({paren(text(d-1))}, {paren(text(d-1))})",
        lambda: "messages | map(attribute='role')",
        lambda: f"messages | map(attribute='content') | select('string')",
        lambda: paren(text(d - 1)),
        lambda: f"['x', 'Y'] | map('{pick(['upper', 'lower', 'title', 'trim'])}')",
    ])()


TEST_ARGS = ["odd", "even", "defined", "undefined", "none", "string", "number", "mapping", "sequence", "iterable", "boolean",
             "true", "false", "integer", "float", "lower", "upper", "callable", "escaped"]


def lst(d):
    if d <= 0 or chance(0.25):
        return pick(["[1, 2, 3]", "[]", "words", "rows", "(1, 2)", "[3, 1, 2, 1]", "range(4)", "range(5, 0, -2)", "['b', 'A', 'a']",
                     "[1, 'a', none, 2.5, true]", "messages", "[[1, 2], [3]]", "(5,)", "()", "'xyz'", "map", "{'k': 1, 'b': 2}"])
    i = lambda: paren(lst(d - 1))
    return pick([
        lambda: f"[{value(d-1)}, {value(d-1)}]",
        lambda: f"({value(d-1)}, {value(d-1)})",
        lambda: f"{i()} | list",
        lambda: f"{i()} + {i()}",
        lambda: f"{i()}[{pick(['1:', ':2', '::-1', '::2', '-2:'])}]",
        lambda: f"{i()} | sort{pick(['', '(reverse=true)', '(case_sensitive=true)', '(true)'])}",
        lambda: f"rows | sort(attribute='{pick(['k', 'v', 'k,v'])}') | map(attribute='{pick(['k', 'v'])}') | list",
        lambda: f"{i()} | unique | list",
        lambda: f"{i()} | reverse | list",
        lambda: f"""{i()} | {pick(['batch', 'slice'])}({pick(['1', '2', '3', "2, '-'"])}) | list""",
        lambda: f"""{i()} | select({pick(['', q(pick(TEST_ARGS)), "'gt', 1", "'in', [1, 'a']", "'eq', 2", "'divisibleby', 2"])}) | list""",
        lambda: f"""{i()} | reject({pick(['', q(pick(TEST_ARGS)), "'lessthan', 2"])}) | list""",
        lambda: f"messages | selectattr('role', '{pick(['eq', 'equalto', '==', 'ne', '!='])}', '{pick(['user', 'assistant'])}') | map(attribute='{pick(['role', 'content', 'nope'])}') | list",
        lambda: f"""messages | {pick(['selectattr', 'rejectattr'])}('{pick(['content', 'tool_calls', 'name', 'content.0.type'])}'{pick(['', ", 'defined'", ", 'none'", ", 'string'", ", 'undefined'"])}) | map(attribute='role') | list""",
        lambda: f"""messages | map(attribute='{pick(['role', 'content.0.type', 'x'])}'{pick(['', ", default='-'"])}) | list""",
        lambda: f"{i()} | map('{pick(['string', 'length', 'upper', 'default', 'tojson', 'first'])}') | list",
        lambda: f"""{i()} | map('{pick(['replace', 'default', 'center'])}', {pick(['1', "'a', 'b'", "'x', true"])}) | list""",
        lambda: f"rows | groupby('{pick(['k', 'v', 'w.x.0'])}'{pick(['', ', default=1', ', case_sensitive=true'])})",
        lambda: f"""{dct(d-1)} | {pick(['dictsort', 'items | list', 'list', "dictsort(by='value')", 'dictsort(true, reverse=true)'])}""",
        lambda: f"{dct(d-1)}.{pick(['keys', 'values', 'items'])}(){pick(['', ' | list'])}",
        lambda: f"{text(d-1)} | list",
        lambda: f"{paren(text(d-1))}.{pick(['split', 'rsplit'])}({pick(['', pick(CHARS), pick(CHARS) + ', 1'])})",
        lambda: f"{paren(text(d-1))}.splitlines()",
        lambda: f"range({integer(0) if chance(0.1) else pick([3, 5])}{pick(['', ', 9', ', 9, 2'])})",
        lambda: f"{i()} * {pick([0, 1, 2])}",
    ])()


def dct(d):
    if d <= 0 or chance(0.4):
        return pick(["{}", "{'a': 1, 'b': 'x'}", "map", "messages[0]", "{1: 'one', 2.5: none, true: 'T'}", "tools[0].function", "rows[1]", "dict(x=1, y=2)",
                     "{'b': [1, {'c': 2}], 'a': (1,)}"])
    return pick([
        lambda: f"{{{q(pick(TEXTS))}: {value(d-1)}, 'k': {value(d-1)}}}",
        lambda: f"dict({dct(d-1)}, z={value(d-1)})",
        lambda: f"dict([('a', {value(d-1)})])",
        lambda: f"{dct(d-1)}.copy()",
    ])()


def boolean(d):
    if d <= 0 or chance(0.2):
        return pick(["true", "false", "add_generation_prompt", "nope", "tools", "loop.first" if LOOPS else "True", "loop.last" if LOOPS else "none"])
    return pick([
        lambda: f"{value(d-1)} {pick(['==', '!='])} {value(d-1)}",
        lambda: f"{integer(d-1)} {pick(['<', '<=', '>', '>='])} {pick([integer(d-1), floating(d-1)])}",
        lambda: f"{paren(text(d-1))} {pick(['<', '>', 'in', 'not in'])} {paren(text(d-1))}",
        lambda: f"{value(d-1)} {pick(['in', 'not in'])} {paren(lst(d-1))}",
        lambda: f"1 < {integer(d-1)} <= 5",
        lambda: f"{paren(value(d-1))} is {pick(['', 'not '])}{pick(TEST_ARGS)}",
        lambda: f"{integer(d-1)} is {pick(['divisibleby 3', 'divisibleby(2)', 'eq 2', 'ge(3)', 'lt 4', 'in [1, 2, 3]', 'sameas none', 'ne(1)'])}",
        lambda: f"""{paren(text(d-1))}.{pick(['startswith', 'endswith'])}({pick([pick(CHARS), "('a', 'x')"])})""",
        lambda: f"{paren(text(d-1))}.{pick(['isupper', 'islower', 'isdigit', 'isalpha', 'isalnum', 'isspace', 'istitle', 'isdecimal', 'isnumeric', 'isidentifier', 'isascii', 'isprintable'])}()",
        lambda: f"not {paren(boolean(d-1))}",
        lambda: f"{boolean(d-1)} {pick(['and', 'or'])} {boolean(d-1)}",
        lambda: f"'{pick(['upper', 'nope', 'tojson'])}' is {pick(['filter', 'test'])}",
        lambda: f"loop.changed({value(d-1)})" if LOOPS else "true",
    ])()


def value(d):
    r = R.random()
    if r < 0.30:
        return text(d)
    if r < 0.45:
        return integer(d)
    if r < 0.53:
        return floating(d)
    if r < 0.66:
        return lst(d)
    if r < 0.74:
        return dct(d)
    if r < 0.82:
        return boolean(d)
    return pick([
        lambda: pick(["none", "nope", "messages[0].nope", "messages[9]", "map.nope"]),
        lambda: pick(NAMES),
        lambda: f"""messages[{pick(['0', '-1', '1'])}]{pick(['.content', "['role']", '.tool_calls', ".get('name', '-')", ".get('x')", '.items', '.update', '.keys()'])}""",
        lambda: f"""{paren(lst(d-1))} | {pick(['first', 'last', 'min', 'max', 'sum', "min(attribute='v')", 'max(case_sensitive=true)', 'random' if chance(0.02) else 'first'])}""",
        lambda: f"""{paren(lst(d-1))}[{pick(['0', '-1', '1', '7', "'x'"])}]""",
        lambda: f"""{paren(dct(d-1))}{pick(['.a', "['b']", '.x', '.items', '[1]', ".get('a')", '.keys', '[true]'])}""",
        lambda: f"{paren(dct(d-1))} | attr('{pick(['a', 'items', 'keys'])}')",
        lambda: f"(-{paren(value(d-1))})",
        lambda: f"{paren(lst(d-1))}.{pick(['index', 'count'])}({value(d-1)})",
        lambda: f"rows | sum(attribute='v'{pick(['', ', start=10'])})",
        lambda: "self" if chance(0.05) else "loop" if chance(0.1) else "namespace(a=1).a",
        lambda: f"{value(d-1)} | {pick(['pprint', 'd(1)', 'list', 'length', 'abs', 'int', 'float', 'round', 'tojson', 'string', 'items', 'upper', 'trim', 'safe'])}",
    ])()


LOOPS = 0
SERIAL = 0


def fresh(prefix):
    global SERIAL
    SERIAL += 1
    return f"{prefix}{SERIAL % 4}"


def block(inner):
    l = pick(["{%", "{%", "{%-", "{%+"])
    r = pick(["%}", "%}", "-%}", "+%}"])
    return f"{l}{pick([' ', ' ', ''])}{inner}{pick([' ', ' ', '  '])}{r}" if l[-1] not in "-+" or not inner[:1] in "-+" else f"{l} {inner} {r}"


def out(e):
    return f"{pick(['{{', '{{', '{{-'])} {e} {pick(['}}', '}}', '-}}'])}"


WHITE = ["", "", " ", "\n", "\n  ", "  \n", "\t", "\n\n", "x", " x\n", "\r\n", "[", "]", "|"]


def body(d):
    return "".join(pick(WHITE) + statement(d) for _ in range(R.randint(1, 2))) + pick(WHITE)


def statement(d):
    global LOOPS
    if d <= 0 or chance(0.4):
        return out(value(R.randint(1, 3)))

    def loop():
        global LOOPS
        target, source = pick([
            ("m", "messages"), (fresh("v"), lst(1)), ("a, b", pick(["[(1, 2), ('x', 'y')]", "{'p': 1, 'q': 2}.items()", "map.items()", "rows | groupby('k')", "map | dictsort", "['ab', 'cd']"])),
            ("c", text(1)), ("i", "range(3)"), ("(a, b), c", "[((1, 2), 3)]"), ("k", "map"), ("x", "nope"), ("x", "[1, 2] | map('string')"),
        ])
        head = f"for {target} in {source}" + pick(["", "", f" if {boolean(1)}", " if loop is defined", f" if {target.split(',')[0].strip('(')}"])
        LOOPS += 1
        inner = body(d - 1)
        if chance(0.2):
            inner += block(f"if {boolean(1)}") + block(pick(["break", "continue"])) + block("endif") + pick(WHITE) + out("loop.index")
        if chance(0.3):
            inner += out(pick(["loop.cycle('a', 'b')", "loop.previtem", "loop.nextitem", "loop.length", "loop.last", "loop.revindex", "loop.changed(loop.first)", "loop", "loop.nope"]))
        LOOPS -= 1
        other = block("else") + body(d - 1) if chance(0.2) else ""
        return block(head) + inner + other + block("endfor")

    def conditional():
        parts = block(f"if {boolean(2)}") + body(d - 1)
        if chance(0.3):
            parts += block(f"elif {boolean(2)}") + body(d - 1)
        if chance(0.4):
            parts += block("else") + body(d - 1)
        return parts + block("endif")

    def assignment():
        name = fresh("v")
        target, source = pick([(name, value(2)), (name, value(2)), ("a, b", pick(["(1, 2)", "'xy'", "[1, [2]]", "1, 2"])), (name, f"{value(1)}, {value(1)}")])
        return block(f"set {target} = {source}") + pick(WHITE) + out(target.split(",")[0])

    def capture():
        name = fresh("v")
        return block(f"""set {name}{pick(['', ' | upper', ' | trim | title', " | replace('a', 'b')"])}""") + body(d - 1) + block("endset") + out(name)

    def macro():
        global LOOPS
        name = fresh("f")
        saved, LOOPS = LOOPS, 0
        params = pick(["", "x", "x, y=2", "x='d', y=none", "x=1, y=x"])
        inner = body(d - 1) + pick(["", "", out("x"), out("varargs"), out("kwargs"), out("caller()"), out("y")])
        LOOPS = saved
        args = pick(["", "1", "'p', 'q'", "y=3", "x=[1]", "1, 2, 3", "*[1, 2]", "**{'x': 5}", "k=1"])
        use = out(f"{name}({args})")
        if chance(0.3):
            use = block(f"call{pick(['', '(z)', '(z=1)'])} {name}({args})") + pick(["body", out("z"), out(value(1))]) + block("endcall")
        return block(f"macro {name}({params})") + inner + block("endmacro") + use + (out(f"{name}.{pick(['name', 'arguments', 'nope'])}") if chance(0.1) else "")

    def recursive():
        return ("{%- for r in [{'n': 1, 'c': [{'n': 2, 'c': []}, {'n': 3}]}] recursive %}" + out("r.n") + out(pick(["loop.depth", "loop.index", "loop.depth0"]))
                + "{% if r.c %}(" + out("loop(r.c)") + "){% endif %}" + pick(["", out("loop.last")]) + "{%- endfor %}")

    def spaces():
        return (block(f"""set ns = namespace({pick(['x=0', "x=''", 'dict(x=1)', 'x=[]'])})""") + "{% for m in messages %}" + block(f"set ns.x = ns.x {pick(['+', '~'])} {pick(['1', 'm.role', '[m.role]', 'loop.index'])}")
                + "{% endfor %}" + out(pick(["ns.x", "ns['x']", "ns", "ns.y", "ns is mapping"])))

    def helpers():
        return pick([
            lambda: "{% set c = cycler('a', 'b', 3) %}" + out("c.next()") + out("c.next()") + out("c.current") + "{% set _ = c.reset() %}" + out("c.next()"),
            lambda: "{% set j = joiner(" + pick(["", "'; '", "sep='|'"]) + ") %}{% for i in range(3) %}" + out("j()") + "{{ i }}{% endfor %}",
            lambda: "{% raw %}" + pick([" {{ x }} ", "\n{% if %}\n", "{#", "-"]) + pick(["{% endraw %}", "{%- endraw -%}", "\n  {% endraw %}\n"]),
            lambda: "{% set g = messages | selectattr('role', 'eq', 'user') %}" + out("g | list | length") + out("g | list | length"),
            lambda: pick(["{#", "{#-"]) + " note {{ x }} " + pick(["#}", "-#}", "+#}"]) + pick(WHITE),
            lambda: "{% print 1, 'a', none %}",
            lambda: out(f"raise_exception({text(1)})") if chance(0.3) else "",
        ])()

    return pick([
        loop, loop, conditional, conditional, assignment, assignment, capture, macro, macro, recursive, spaces, helpers, helpers,
        lambda: block(f"with a = {value(1)}, b = {value(1)}") + out("a") + body(d - 1) + out("b") + block("endwith") + out("a"),
        lambda: block(f"""filter {pick(['upper', 'trim', 'indent(2)', "replace('a', 'b') | title", 'e', 'length', 'wordwrap(9)'])}""") + body(d - 1) + block("endfilter"),
        lambda: block("generation") + body(d - 1) + block("endgeneration"),
        lambda: block(f"autoescape {pick(['true', 'true', 'false'])}") + body(d - 1) + out(pick(["'<' ~ s", "'<a>' | safe ~ '<'", "('<' | e) + '<'", "['<', '&' | safe] | join('>')", "messages[0].content | replace('<', '>')"])) + block("endautoescape"),
        lambda: block(f"block blk{R.randint(0, 99)}{pick(['', ' scoped'])}") + body(d - 1) + block("endblock"),
        lambda: block(pick(["set v1 = 3", "set messages = messages[1:]", "set bos_token = 'B'"])),
        lambda: "{% if false %}{% include 'x' %}{{ 1 | nofilter }}{% endif %}",
    ])()


CHAT = [
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + EXPR + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{%- if messages[0]['role'] == 'system' %}\n    {%- set system = messages[0]['content'] %}\n    {%- set loop_messages = messages[1:] %}\n{%- else %}\n    {%- set loop_messages = messages %}\n{%- endif %}\n{{- bos_token }}\n{%- for m in loop_messages %}\n    {%- if loop.last and system is defined %}\n        {{- '[INST] ' ~ system ~ '\\n\\n' ~ EXPR ~ '[/INST]' }}\n    {%- else %}\n        {{- m['content'] | string | trim ~ eos_token }}\n    {%- endif %}\n{%- endfor %}\n",
    "{% set ns = namespace(found=false, last=-1) %}\n{%- for m in messages[::-1] %}\n  {%- set index = (messages|length - 1) - loop.index0 %}\n  {%- if not ns.found and m.role == 'user' and m.content is string and not (m.content.startswith('<t') and m.content.endswith('>')) %}\n    {%- set ns.found = true %}{% set ns.last = index %}\n  {%- endif %}\n{%- endfor %}\n{{ ns.last }}{% for m in messages %}{% set m = m %}{{ EXPR }}{% endfor %}",
    "{%- macro render(m) -%}\n{%- if m.content is string -%}{{ m.content }}{%- elif m.content is iterable and m.content is not none -%}{%- for p in m.content -%}{%- if p.type == 'text' -%}{{ p.text }}{%- else -%}<{{ p['type'] }}>{%- endif -%}{%- endfor -%}{%- endif -%}\n{%- endmacro -%}\n{%- for m in messages %}{{ m.role | upper }}: {{ render(m) }}{{ EXPR }}\n{% endfor -%}",
    "{% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls %}<tool_call>{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}</tool_call>{% endfor %}{% elif m.role == 'assistant' and '</think>' in (m.content or '') %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}|{{ m.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}{% else %}{% set m = m %}{{ EXPR }}{% endif %}{% endfor %}",
    "{%- if tools %}# Tools\n{%- for t in tools %}\n{{ t | tojson }}\n{%- for k, v in t.function.parameters.properties | dictsort %}\n  {{ k }}: {{ v.type if v.type is string else v.type | join('|') }}{{ ' (required)' if k in t.function.parameters.required }}{{ v | tojson(indent=2) | indent(4) }}\n{%- endfor %}{% endfor %}{% endif %}\n{%- for m in messages %}{{ EXPR }}{% endfor %}",
    "{%- for m in messages %}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{- raise_exception('Roles must alternate: ' ~ m.role) }}{%- endif %}{{ EXPR }}{%- endfor %}",
]
M = ["m.content", "(m.content | string)", "m['content'] | trim", "m.content ~ ''", "(m.content or '') | replace('<', '[')", "m.get('content', '') | default('', true)"]


def generate():
    global SERIAL
    SERIAL = R.randint(0, 3)
    if chance(0.15):
        e = pick(M) if chance(0.6) else value(2)
        source = pick(CHAT).replace("EXPR", "(" + e + ")" if chance(0.5) else e)
    else:
        source = body(3)
    if chance(0.1):
        source += pick(["\n", "\n\n", "\r\n", " \n"])
    if chance(0.02):
        at = R.randint(0, len(source))
        source = source[:at] + pick(["{", "}", "%", "'", "|", ")", " is ", "{%", "}}", "not", "#}"]) + source[at:]
    return source


class TooSlow(Exception):
    pass


def alarm(*_):
    raise TooSlow()


def render(source, context):
    try:
        return {"text": environment().from_string(source).render(**json.loads(json.dumps(context)))}
    except TooSlow:
        return None
    except MemoryError:
        return None
    except AssertionError as error:
        # An error in Jinja2's compiler, not in the template.
        return {"error": "AssertionError"} if "expected" in str(error) else None
    except Exception as error:
        return {"error": type(error).__name__}


def main():
    signal.signal(signal.SIGALRM, alarm)
    seen, cases = set(), []
    addresses = failures = 0
    while len(cases) < COUNT:
        source = generate()
        if source in seen or len(source) > 1200 or "| random" in source:
            continue
        seen.add(source)
        # A slice of a constant mapping is undefined where Jinja2 evaluates it early, and an error elsewhere.
        if re.search(r"\}\)*\[[-\d]*:", source):
            continue
        at = R.randrange(len(CONTEXTS))
        signal.alarm(3)
        result = render(source, CONTEXTS[at])
        signal.alarm(0)
        if result is None or len(result.get("text", "")) > 3000:
            continue
        # Filters may have taken an address apart.
        bare = re.sub(r"[^0-9a-z]", "", result.get("text", "").lower())
        named = re.search("builtinmethod|boundmethod|generatorobject|iteratorobject|objectat|functionat|functionsafe", bare)
        hexadecimal = re.search("0x[0-9a-f]{8}", bare)
        if bool(named) != bool(hexadecimal):
            continue
        if named:
            addresses += 1
            if addresses > COUNT // 300:
                continue
            result = {"address": True}
        if "error" in result:
            failures += 1
            # Half of what a grammar makes fails; enough of it is a quarter.
            if failures > COUNT // 4:
                continue
        try:
            json.dumps(result).encode()
        except UnicodeError:
            continue
        cases.append({"source": source, "context": at, **result})
    OUT.write_bytes(gzip.compress(
        json.dumps({"contexts": CONTEXTS, "cases": cases}, ensure_ascii=True, separators=(",", ":")).encode(), 9, mtime=0))
    rendered = sum("text" in case for case in cases)
    print(f"{len(cases)} templates, {rendered} rendered, {OUT.stat().st_size} bytes")


main()
