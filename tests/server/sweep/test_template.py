import time

import pytest

from whet_server.errors import InvalidField, TemplateFailed
from whet_server.sweep.template import MOST_OUTPUT, Template, check

VALUES = {
    "input": "Where is it?",
    "fields": {"tone": "calm", "n": "3"},
    "params": {"style": "short", "t": 0.7},
    "examples": [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}],
}


@pytest.mark.parametrize(
    ("source", "filled"),
    [
        ("{{ input }}", "Where is it?"),
        ("{{ fields.tone }} {{ params.t }}", "calm 0.7"),
        ("{% for e in examples %}{{ loop.index + 1 }}:{{ e.input }}>{{ e.output }} {% endfor %}", "2:a>b 3:c>d "),
        ("{% for x in ['p', 'q'] %}{{ x }}{% endfor %}", "pq"),
        ("{% if params.style in ['short', 'long'] %}yes{% else %}no{% endif %}", "yes"),
        ("{% set who = fields.tone|upper ~ '!' %}{{ who }}", "CALM!"),
        ("{{ [fields.tone, params.style]|join(', ') }}", "calm, short"),
        ("{{ input[:5] }}{{ examples|length }}{{ fields|tojson }}", 'Where2{"tone": "calm", "n": "3"}'),
        ("{% raw %}{{ a ** b }}{% endraw %}{# {{ c() }} #}{{ '{% include %}' }}", "{{ a ** b }}{% include %}"),
        ("{{ params.none|default('nothing') }}{{ range(3)|join }}", "nothing012"),
    ],
)
def test_templates_are_filled_in(source: str, filled: str) -> None:
    assert Template(source).fill(**VALUES) == filled


def test_a_template_names_what_it_asks_for() -> None:
    template = Template("{{ input[:9] }}{% for e in examples[:2] %}{{ e.input[:3] }}{% endfor %}{{ params.style }}")
    assert template.variables == {"input", "examples", "params"}
    assert template.paths == {"input", "examples", "params.style"}


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("one\ntwo {{ reference }}", "line 2: `reference` is undefined; there are examples, fields, input, params"),
        ("{{ fields.age }}", "line 1: `fields.age` is undefined; `fields` has n, tone"),
        ("\n\n{% if params.style.x.y %}{% endif %}", "line 3: `params.style.x.y` is undefined; `params` has style, t"),
        ("{{ input + 1 }}", "line 1: tried to use + operator on unsupported types string and number"),
    ],
)
def test_what_is_undefined_is_said_with_its_line_and_what_there_is(source: str, what: str) -> None:
    with pytest.raises(TemplateFailed) as failed:
        Template(source).fill(**VALUES)
    assert str(failed.value).startswith(what)
    assert failed.value.metadata["line"] == what.split()[1].rstrip(":")


def test_checking_finds_everything_that_is_unknown() -> None:
    known = {"input": None, "params": ["style"], "fields": []}
    with pytest.raises(InvalidField) as refused:
        check("{{ input }}\n{{ params.stile }} {{ fields.x }}\n{{ label[0] }}", "spec.template", known)
    assert refused.value.violations == (
        ("spec.template", "line 2: `fields.x` is undefined; `fields` has nothing"),
        ("spec.template", "line 3: `label` is undefined; there are fields, input, params"),
        ("spec.template", "line 2: `params.stile` is undefined; `params` has style"),
    )
    with pytest.raises(InvalidField, match="line 2: unexpected end of variable block"):
        check("a\n{{ input + }}", "spec.template", known)
    with pytest.raises(InvalidField, match="has 200001 characters"):
        check("x" * 200_001, "spec.template", known)


DOUBLING = "{% set x = 'ab' %}" + "{% set x = x ~ x %}" * 60
HOSTILE = [
    "{{ 'x' * 1000000000 }}",
    f"{DOUBLING}{{{{ x }}}}",
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = (x, x) %}" * 60 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = x, x %}" * 60 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = x + x %}" * 60 + "{{ x|length }}",
    "{% set x = [1] %}" + "{% set x = x + 1 + x %}" * 60 + "{{ x|length }}",
    "{% set x = [1] %}" + "{% set x = x|zip(x) %}" * 60 + "{{ x }}",
    "{% set x = [1] %}" + "{% for x in [[x, x]] %}" * 60 + "{{ x }}" + "{% endfor %}" * 60,
    "{% set x = [1] %}" + "{% set x = {1: x, 2: x} %}" * 60 + "{{ x }}",
    "{% macro m(x) %}{{ m([x, x]) }}{% endmacro %}{{ m(1) }}",
    "{% for x in [1] recursive %}{{ loop([x, x]) }}{% endfor %}",
    "{% with x = [1] %}{% with x = [x, x] %}{{ x }}{% endwith %}{% endwith %}",
    "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
    "{% for i in range(100000) %}" + "y" * 100_000 + "{% endfor %}",
    "{% for i in range(100000) %}{% if big|upper == 'a' %}{% endif %}{% endfor %}",
    "{{ big|replace('', big)|length }}",
    "{{ 'x\nx'|indent(1000000000) }}",
    "{{ '%1000000000s'|format('x') }}",
    "{{ range(100000)|join(big)|length }}",
    "{{ big ~ big ~ big ~ big ~ big ~ big ~ big ~ big ~ big }}",
    "{{ " + "not " * 100_000 + "big }}",
    "{{ big" + "|upper" * 30_000 + " }}",
    "{{ big" + ".a" * 90_000 + " }}",
    "{{ " + "-" * 100_000 + "1 }}",
    "{{ " + "[" * 50_000 + "]" * 50_000 + " }}",
    "{% if big %}" * 10_000 + "{% endif %}" * 10_000,
    "{% if big %}" + "{% elif big %}" * 10_000 + "{% endif %}",
    "{% raw %}{{ ' {% endraw %}{% set x = [1] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}",
    "{% include 'secret' %}",
    "{{ debug() }}",
    "{{ input.__class__() }}",
    "{{ range.x() }}",
]


@pytest.mark.parametrize("source", HOSTILE, ids=lambda source: source[:40].replace("\n", " "))
def test_a_hostile_template_ends_soon_and_is_refused(source: str) -> None:
    start = time.process_time()
    with pytest.raises(TemplateFailed):
        Template(source).fill(**VALUES, big="a" * 300_000)
    assert time.process_time() - start < 2


def test_the_longest_texts_that_are_allowed_can_be_filled_in() -> None:
    many = [{"input": "q" * 1000, "output": "a" * 100}] * 100
    shown = "{% for e in examples %}{{ e.input|trim }} -> {{ e.output|upper }}\n{% endfor %}{{ input }}"
    assert len(Template(shown).fill(examples=many, input="x" * 1_000_000)) > 1_100_000
    with pytest.raises(TemplateFailed, match=f"there may be {MOST_OUTPUT}"):
        Template("{{ input }}{{ input }}").fill(input="x" * 1_000_001)
