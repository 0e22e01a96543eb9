"""Writes test/fixtures/chat/model-templates.json.gz: the chat templates of models, and small templates on mappings whose keys
are no texts and on undefined values, and what Jinja2 3.1.6 renders of them.

    pip install jinja2==3.1.6 && python scripts/jinja-models.py LLAMA_CPP/models/templates

The test "model templates" renders the same here. The models' templates are those of llama.cpp v0.4.0 (MIT).
"""

import gzip
import json
import pathlib
import re
import sys

from jinja_settings import TOOL, environment

FOLDER = pathlib.Path(sys.argv[1])
TESTS = pathlib.Path(__file__).parent.parent / "test/fixtures/chat"
CONVERSATIONS = json.loads((TESTS / "conversations.json").read_text())
CALL = {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln", "days": 3}}}
BASE = {"documents": None, "bos_token": "<s>", "eos_token": "</s>"}
CONTEXTS = [
    {**BASE, "messages": CONVERSATIONS[name], "tools": None, "add_generation_prompt": prompt}
    for name in ["one question", "several turns with a system", "blanks at the ends", "two users"]
    for prompt in [False, True]
] + [
    {**BASE, "messages": CONVERSATIONS["one question"], "add_generation_prompt": True},
    {
        **BASE,
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "12.5", "name": "get_weather", "tool_call_id": "call00001"},
        ],
        "tools": [TOOL],
        "add_generation_prompt": True,
    },
]

DICTS = (
    "{1: 'a', 2: 'b'} | {512: 128, 1024: 256, 0: 0} | {1.5: 'x', 2.0: 'y', 2: 'z'} | {true: 1, false: 0, none: 2} | {1: 'a', true: 'b', 1.0: 'c'} | "
    "{(1, 'x'): 1, (): 2} | {-1: [1, {2: 3}], 'k': {3: {4: 5}}} | {none: none} | {10**18: 1, 2**70: 2} | {1: 'a', '1': 'b'} | "
    "{0.1: 1, 1e20: 2, -0.0: 3, 1e-7: 4} | {'a': 1, 2: 'b'} | {[1]: 2} | {{}: 1}"
).split(" | ")
USES = [
    "{{ d }}", "{{ d | tojson }}", "{{ d | tojson(indent=2) }}", "{{ d | tojson(sort_keys=true) }}", "{{ d | dictsort }}", "{{ d | items | list }}",
    "{{ d.keys() }}", "{{ 1 in d }}{{ '1' in d }}{{ true in d }}{{ 1.0 in d }}{{ none in d }}{{ 2.5 not in d }}",
    "{{ d[1] }}|{{ d['1'] }}|{{ d[true] }}|{{ d[2.0] }}|{{ d[none] }}", "{{ d.get(1) }}|{{ d.get('k', 'no') }}|{{ d.get(none, 0) }}|{{ d.get(512) }}",
    "{% for k in d %}{{ k }}:{{ d[k] }},{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d | dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{{ d == d }}{{ d == {1: 'a', 2: 'b'} }}{{ d != {} }}", "{{ d | first }}|{{ d | last }}", "{{ d | join(',') }}", "{{ d | sort }}", "{{ d | min }}|{{ d | max }}",
    "{{ d | sum }}", "{{ d | unique | list }}", "{{ d | map('string') | list }}", "{{ d | xmlattr }}", "{{ d | urlencode }}", "{{ d | pprint }}", "{{ dict(**d) }}",
    "{{ d.1 }}", "{{ '{0[1]}'.format(d) }}", "{{ d | reject('odd') | list }}", "{{ d.keys() | list | sort | last }}", "{{ '%s' % d }}", "{{ d | length }}",
    "{% set ns = namespace(n=none) %}{% for k in d | sort %}{% if ns.n is none and k >= 512 %}{% set ns.n = d[k] %}{% endif %}{% endfor %}{{ ns.n }}",
]
ARGUMENTS = {"attr": "('a')", "batch": "(2)", "slice": "(2)", "map": "('upper')", "selectattr": "('type', 'equalto', 'x')", "rejectattr": "('type')", "groupby": "('a')", "replace": "('a', 'b')", "center": "(8)", "join": "(',')", "sum": "(start=1)"}
ABSENT = ["nothing", "none", "message.nothing", "nothing.attr", "''", "[]", "(nothing if false)"]
CALLED = ["nothing", "message.nothing", "none", "'a'", "5", "[]", "message.get", "range", "nothing.attr", "[].append", "loop", "caller", "messages[9]"]
CALLS = [
    "{{ X() }}", "{{ X(1) }}", "{{ X('a', b=2) }}", "{% if X is callable %}{{ X() }}{% endif %}", "{% if X is defined and X %}{{ X() }}{% endif %}x", "{{ X() if false else 'ok' }}",
    "{{ false and X() }}{{ true or X() }}", "{% call X() %}body{% endcall %}", "{{ X() | default('x') }}", "{% macro m() %}{{ X() }}{% endmacro %}ok",
    "{% for i in X %}{{ i }}{% else %}none{% endfor %}", "{{ X + 1 }}", "{{ X ~ 'z' }}", "{{ X == nothing }}", "{{ X < 1 }}", "{{ X in [1] }}", "{{ X[0] }}", "{{ X.a }}",
    "{{ 1 in X }}", "{{ -X }}", "{{ not X }}", "{{ [X, 1] | tojson }}", "{{ {X: 1} }}", "{{ '%s|%r' % (X, X) }}",
]


def constructs(filters):
    for mapping in DICTS:
        for use in USES:
            yield "{% set d = " + mapping + " %}" + use
    for value in ABSENT:
        for name in filters:
            yield "{{ " + value + " | " + name + ARGUMENTS.get(name, "") + " }}"
            yield "{{ " + value + " | " + name + ARGUMENTS.get(name, "") + " | list | length }}"
    for value in CALLED:
        for call in CALLS:
            yield call.replace("X", value)


def render(source, context):
    try:
        return environment().from_string(source).render(**json.loads(json.dumps(context)))
    except Exception as error:
        return {"error": type(error).__name__}


def main():
    models = [
        {"name": path.stem, "source": path.read_text(), "rendered": [render(path.read_text(), context) for context in CONTEXTS]}
        for path in sorted(FOLDER.glob("*.jinja"))
    ]
    small = {"message": {"role": "user", "content": "Hi"}, "messages": [{"role": "user", "content": "Hi"}], "tools": None}
    cases = []
    for source in constructs(sorted(set(environment().filters) - {"random"})):
        rendered = render(source, small)
        # What prints an address is another one each time.
        if not re.search(r" at 0x|generator object|<", str(rendered)):
            cases.append([source, rendered])
    found = {"contexts": CONTEXTS, "models": models, "small": small, "cases": cases}
    out = TESTS / "model-templates.json.gz"
    out.write_bytes(gzip.compress(json.dumps(found, separators=(",", ":")).encode(), 9, mtime=0))
    print(f"{len(models)} models, {len(cases)} small templates, {out.stat().st_size} bytes")


main()
