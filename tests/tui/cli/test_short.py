"""Short forms and whole specs on the command line."""

from pathlib import Path
from typing import Any

import click
import pytest

from whet_agent.catalogue import method_named, request_from
from whet_agent.plain import descriptor_of
from whet_tui.cli.flags import arguments_from, flags_of, in_flags
from whet_tui.cli.short import dimension, objective, parameter, stage

START = method_named("SweepService", "StartSweep")
FLAGS = flags_of(descriptor_of(START.request))


def spec(**values: Any) -> Any:
    """What a command line comes to."""
    request: Any = request_from(START, arguments_from(FLAGS, values))
    return request.spec


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a.temperature=0..1", {"float_range": {"low": 0.0, "high": 1.0}}),
        ("a.temperature=-1.5..1e2", {"float_range": {"low": -1.5, "high": 100.0}}),
        ("a.temperature=1e-4..1 log", {"float_range": {"low": 1e-4, "high": 1.0, "log": True}}),
        ("a.temperature=0..1 step 0.25", {"float_range": {"low": 0.0, "high": 1.0, "step": 0.25}}),
        ("a.temperature=int 0..8 step 2", {"int_range": {"low": 0, "high": 8, "step": 2}}),
        ("a.temperature = int 1..64 log", {"int_range": {"low": 1, "high": 64, "log": True}}),
        ("a.temperature=local/x, sim/y", {"choices": {"choices": [{"label": "local/x"}, {"label": "sim/y"}]}}),
        (
            r"a.temperature=sim/c?labels=a\,b,sim/y",
            {"choices": {"choices": [{"label": "sim/c?labels=a,b"}, {"label": "sim/y"}]}},
        ),
        (
            "a.temperature=0..1 if b.model=sim/x, sim/y",
            {
                "float_range": {"low": 0.0, "high": 1.0},
                "only_if": {"dimension": "b.model", "labels": ["sim/x", "sim/y"]},
            },
        ),
    ],
)
def test_a_dimension_is_written_in_short(text: str, fields: dict[str, Any]) -> None:
    assert dimension(text) == {"name": "a.temperature"} | fields


def test_a_panel_is_chosen_by_its_models() -> None:
    read = dimension("panel=cheap=sim/a+sim/b,sim/c")
    assert read == {
        "name": "panel",
        "choices": {
            "choices": [{"label": "cheap", "models": ["sim/a", "sim/b"]}, {"label": "sim/c", "models": ["sim/c"]}]
        },
    }


def test_a_choice_stands_for_the_text_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("One, two.\nThree: {{ input }}\n", encoding="utf-8")
    read = dimension(f"s.template=long=@{tmp_path / 'long.txt'},short")
    assert read is not None
    assert read["choices"]["choices"] == [
        {"label": "long", "text": "One, two.\nThree: {{ input }}"},
        {"label": "short"},
    ]
    with pytest.raises(click.UsageError, match=r"none.txt cannot be read: No such file"):
        stage("s=@none.txt")


@pytest.mark.parametrize("text", ["x", "=0..1", "1a=0..1", "a=0..1 lug", "a=int 0.5..1", "a=1..2 step"])
def test_what_is_no_dimension_is_none(text: str) -> None:
    assert dimension(text) is None
    with pytest.raises(click.UsageError, match=r"--dimension: .* is none of: NAME=0..1"):
        spec(spec__space=(text,))


def test_objectives_parameters_and_stages_are_written_in_short() -> None:
    assert objective("cost margin=0.1") == {"kind": "cost", "margin": 0.1}
    assert objective("quality criterion=tone") == {"kind": "quality", "criterion": "tone"}
    assert objective("quality margin=much") is None
    assert parameter("k=3") == {"name": "k", "integer": 3}
    assert parameter("k=-0.5") == {"name": "k", "number": -0.5}
    assert parameter("k=a=b") == {"name": "k", "text": "a=b"}
    assert stage("s=Say = {{ input }}") == {"name": "s", "template": "Say = {{ input }}"}


def test_json_works_as_before() -> None:
    made = spec(spec__space=('{"name": "k", "int_range": {"low": 1, "high": 3}}', "t=0..1"))
    assert [each.name for each in made.space] == ["k", "t"]
    assert made.space[0].int_range.high == 3


def test_numbers_of_a_baseline_are_of_the_kind_of_their_dimension() -> None:
    made = spec(
        spec__space=("a.temperature=0..1", "a.model=1,2", "a.examples.count=int 0..4"),
        spec__baseline=("a.temperature=0", "a.model=2", "a.examples.count=0"),
    )
    assert [each.WhichOneof("value") for each in made.baseline] == ["number", "text", "integer"]


def test_a_whole_spec_comes_from_a_file_and_flags_stand_above_it(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "title: from the file\nseed: 3\nbudget: {money: $2.50, time: 10m, trials: 9}\nspace:\n"
        "  - {name: a.temperature, float_range: {low: 0, high: 1}}\n",
        encoding="utf-8",
    )
    made = spec(spec=str(path), spec__seed=4, spec__budget__trials=5)
    assert (made.title, made.seed, made.budget.trials) == ("from the file", 4, 5)
    assert (made.budget.money.nanos, made.budget.time.seconds) == (2_500_000_000, 600)
    assert spec(spec=f"@{path}", spec__space=("k=int 1..2",)).space[0].name == "k"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "is no YAML, line 1"),
        ("- a", "holds no object with fields"),
        ("budget: 3", "the file has no object at budget"),
    ],
)
def test_a_file_that_is_no_spec_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(click.UsageError, match=told):
        spec(spec=str(path), spec__budget__trials=5)


def test_errors_of_a_file_speak_of_its_fields() -> None:
    assert in_flags(FLAGS, "spec.space[0].name: no") == "--dimension[0].name: no"
    assert in_flags(FLAGS, "spec.target: no") == "spec.target: no"
    assert in_flags(FLAGS, "spec: no") == "--spec: no"
