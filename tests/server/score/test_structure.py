import json
import time

import pytest

from whet_server.judging import Item
from whet_server.schemas import check_schema
from whet_server.score.finding import DoesNotApply
from whet_server.score.length import length, tokens_of
from whet_server.score.spec import JsonScorer, LengthScorer, MarkdownScorer
from whet_server.score.structure import json_text, markdown

PERSON = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"$ref": "#/$defs/age"}},
        "required": ["name"],
        "patternProperties": {"^x_": {"type": "integer"}},
        "additionalProperties": False,
        "$defs": {"age": {"type": "integer", "minimum": 0}},
    }
)


def item(candidate: str) -> Item:
    return Item(candidates=(candidate,))


@pytest.mark.parametrize(
    ("candidate", "wrong"),
    [
        ('{"name": "Ada", "age": 36, "x_a": 1}', ""),
        ('{"name": "ada"}', "$.name: 'ada' does not match"),
        ('{"name": "Ada", "age": -1}', "$.age: -1 is less than"),
        ('{"name": "Ada", "x_a": "no"}', "$.x_a:"),
        ('{"name": "Ada", "other": 1}', "'other' is not expected here"),
        ("{}", "'name' is a required property"),
        ("{name: 1}", "This is no JSON"),
        ('{"name": NaN}', "NaN is no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("", "This is no JSON"),
    ],
)
def test_json_follows_its_schema_or_the_rationale_says_where_not(candidate: str, wrong: str) -> None:
    found = json_text(item(candidate), JsonScorer(schema=PERSON))
    assert found.score == (not wrong)
    assert wrong in found.rationale


def test_json_in_a_fence_counts_where_that_is_allowed() -> None:
    text = 'Here it is:\n\n```json\n{"name": "Ada"}\n```\n'
    assert json_text(item(text), JsonScorer(schema=PERSON)).score == 0
    assert json_text(item(text), JsonScorer(schema=PERSON, fenced=True)).score == 1
    assert json_text(item("[1]"), JsonScorer(fenced=True)).score == 1


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{", "cannot be used"),
        ('{"type": "thing"}', "no JSON Schema"),
        ('{"$ref": "https://example.com/schema.json"}', "leaves the schema"),
        ('{"$ref": "file:///etc/passwd"}', "leaves the schema"),
        ('{"properties": {"a": {"pattern": "(?=a)b"}}}', "no expression of RE2"),
        ('{"patternProperties": {"(a)\\\\1": {}}}', "no expression of RE2"),
        ('{"patternProperties": {"a": {}}, "unevaluatedProperties": false}', "not supported"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_reason(schema: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_schema(schema)


def test_a_property_may_be_called_like_a_keyword() -> None:
    check_schema('{"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}}}')


def test_expressions_of_a_schema_take_linear_time() -> None:
    schema = json.dumps({"pattern": "^(a+)+$", "patternProperties": {"^(a|aa)+$": {}}})

    def fastest(size: int) -> int:
        text = json.dumps("a" * size + "!")
        times = []
        for _ in range(5):
            start = time.process_time_ns()
            assert json_text(item(text), JsonScorer(schema=schema)).score == 0
            times.append(time.process_time_ns() - start)
        return min(times)

    fastest(10)
    assert fastest(190_000) / fastest(19_000) < 40


def test_a_schema_that_doubles_its_way_at_every_step_is_given_up() -> None:
    steps = {f"s{number}": {"allOf": [{"$ref": f"#/$defs/s{number + 1}"}] * 2} for number in range(40)}
    schema = json.dumps({"$ref": "#/$defs/s0", "$defs": steps | {"s40": {}}})
    with pytest.raises(DoesNotApply, match="cannot be followed"):
        json_text(item("1"), JsonScorer(schema=schema))


@pytest.mark.parametrize("schema", ['{"$ref": "#"}', '{"$ref": "#/$defs/nowhere"}'])
def test_a_schema_that_leads_nowhere_gives_no_score(schema: str) -> None:
    with pytest.raises(DoesNotApply, match="cannot be followed"):
        json_text(item("1"), JsonScorer(schema=schema))


DOCUMENT = """# Plan

## Summary *of it*

- one
- two
  1. three

```python
# no heading
```

| a | b |
|---|---|
| 1 | 2 |

#### Too deep
"""


@pytest.mark.parametrize(
    ("scorer", "score", "said"),
    [
        (MarkdownScorer(headings=("plan", "Summary of it")), 1.0, ""),
        (MarkdownScorer(headings=("Plan", "no heading")), 0.5, "heading no heading"),
        (MarkdownScorer(min_list_items=3, min_code_blocks=1, min_tables=1), 1.0, ""),
        (MarkdownScorer(min_list_items=4, min_tables=1), 0.5, "list items: 3 of 4"),
        (MarkdownScorer(ordered_headings=True, headings=("Plan",)), 0.5, "a heading level is skipped"),
    ],
)
def test_the_share_of_the_structure_that_is_there(scorer: MarkdownScorer, score: float, said: str) -> None:
    found = markdown(item(DOCUMENT), scorer)
    assert found.score == score
    assert said in found.rationale


@pytest.mark.parametrize(
    ("size", "score"), [(0, 0.0), (50, 0.0), (75, 0.5), (100, 1.0), (200, 1.0), (300, 0.5), (400, 0.0), (5000, 0.0)]
)
def test_a_length_falls_to_nothing_at_half_the_least_and_twice_the_most(size: int, score: float) -> None:
    found = length(item("x" * size), LengthScorer(min=100, max=200, characters=True))
    assert (found.score, found.value) == (score, size)


def test_tokens_are_those_of_the_embedded_table() -> None:
    assert tokens_of("") == 0
    assert tokens_of("The quick brown fox") == 5
    assert length(item("The quick brown fox"), LengthScorer(max=5)).rationale == "5 tokens"
