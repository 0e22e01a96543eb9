"""Jinja2 3.1.6 under the settings of transformers/utils/chat_template_utils.py (4.57), for the scripts beside this file."""

import datetime
import json
import warnings

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = datetime.datetime(2026, 2, 5, 14, 7, 9)

warnings.simplefilter("ignore")
assert jinja2.__version__ == "3.1.6", jinja2.__version__


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_generation")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _generation(self, context, caller):
        return caller()


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: NOW.strftime(format)
    return env


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city, in °C <b>now</b>",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "A city", "enum": ["Paris", "Köln"]},
                "days": {"type": ["integer", "null"], "minimum": 1, "factor": 0.5},
            },
            "required": ["city"],
        },
    },
}
