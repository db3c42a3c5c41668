import json
from pathlib import Path
from typing import Any

import click
import pytest

from whet_agent.catalogue import methods, request_from
from whet_agent.plain import descriptor_of
from whet_tui.cli.flags import Flag, arguments_from, flags_of, in_flags, parameters_of


def flags(name: str) -> list[Flag]:
    return flags_of(descriptor_of(next(method for method in methods() if method.name == name).request))


def named(name: str) -> dict[str, tuple[str, ...]]:
    return {flag.name: flag.path for flag in flags(name)}


def test_fields_become_flags_and_the_spec_is_left_out() -> None:
    found = named("RunFanout")
    assert found["prompt"] == ("spec", "prompt")
    assert found["model"] == ("spec", "models")
    assert found["finish-deadline"] == ("spec", "finish", "deadline")
    assert found["synthesis-max-tokens"] == ("spec", "synthesis", "parameters", "max_tokens")
    assert found["max-tokens"] == ("spec", "parameters", "max_tokens")
    assert found["plan-hash"] == ("plan_hash",)
    assert named("ListFanouts")["page-size"] == ("page", "size")


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_no_two_flags_of_a_call_share_a_name(method: Any) -> None:
    names = [flag.name for flag in flags_of(descriptor_of(method.request))]
    assert len(set(names)) == len(names)
    assert "json" not in names


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("GetFanout", ["run_id"]),
        ("PutEndpoint", ["name"]),
        ("Reserve", ["model"]),
        ("DecideApproval", []),
        ("PutCap", []),
    ],
)
def test_the_one_required_field_needs_no_flag(name: str, arguments: list[str]) -> None:
    parameters = parameters_of(flags(name))
    assert [each.name for each in parameters if isinstance(each, click.Argument)] == arguments
    if not arguments:
        assert sum(each.required for each in parameters) > 1


def test_flags_become_the_request() -> None:
    method = next(method for method in methods() if method.name == "RunFanout")
    values = {
        "spec__prompt": "why",
        "spec__models": ("sim/fast", "sim/slow"),
        "spec__branches": ('{"model": "a/b", "samples": 2}',),
        "spec__finish__deadline": "250ms",
        "spec__synthesis__mode": "vote",
        "spec__cache__bypass": True,
        "spec__title": None,
        "spec__messages": (),
    }
    request: Any = request_from(method, arguments_from(flags("RunFanout"), values))
    assert list(request.spec.models) == ["sim/fast", "sim/slow"]
    assert request.spec.branches[0].samples == 2
    assert request.spec.finish.deadline.nanos == 250_000_000
    assert request.spec.cache.bypass


def test_a_call_without_flags_still_carries_its_spec() -> None:
    assert arguments_from(flags("RunFanout"), {}) == {"spec": {}}
    assert arguments_from(flags("GetFanout"), {"run_id": "fan_1"}) == {"run_id": "fan_1"}


@pytest.mark.parametrize("text", ["x", "[]", "3", '"a"', "{"])
def test_an_object_that_is_none_is_answered_with_an_example(text: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        arguments_from(flags("PutEndpoint"), {"models": (text,)})
    assert '--model \'{"model": "sim/fast"}\'' in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("spec.finish.deadline: too long", "--finish-deadline: too long"),
        ("spec.branches[0].model: is required", "--branch[0].model: is required"),
        ("spec.prompt", "--prompt"),
        ("spec.prompting: no", "spec.prompting: no"),
        ("the run is gone", "the run is gone"),
    ],
)
def test_errors_speak_of_the_flag_that_was_typed(text: str, told: str) -> None:
    assert in_flags(flags("RunFanout"), text) == told


def test_the_work_of_a_judgement_has_short_flags() -> None:
    found = named("RunJudgement")
    assert found["dataset"] == ("spec", "dataset", "name")
    assert found["dataset-split"] == ("spec", "dataset", "split")
    assert found["model"] == ("spec", "judge", "models")
    assert found["rubric"] == ("spec", "judge", "rubric")
    assert named("SplitDataset")["train"] == ("policy", "train")


def test_lists_of_objects_come_one_a_line_or_as_a_list_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    wanted = [{"candidates": ["a"]}, {"candidates": ["b"]}]
    for text in (json.dumps(wanted), "\n".join(json.dumps(each) for each in wanted) + "\n"):
        file.write_text(text, encoding="utf-8")
        given = arguments_from(flags("RunJudgement"), {"spec__items": (f"@{file}", '{"input": "c"}')})
        assert given["spec"]["items"] == [*wanted, {"input": "c"}]
    file.write_text('{"candidates": ["a"]}\nnonsense', encoding="utf-8")
    with pytest.raises(click.UsageError, match="takes a JSON object"):
        arguments_from(flags("RunJudgement"), {"spec__items": (f"@{file}",)})


def test_ratings_come_from_a_file_and_a_prompt_may_begin_with_an_at_sign(tmp_path: Path) -> None:
    file = tmp_path / "ratings.csv"
    file.write_text("item_id,level\n1,4\n", encoding="utf-8")
    assert arguments_from(flags("PutRatings"), {"csv": f"@{file}"})["csv"] == "item_id,level\n1,4\n"
    assert arguments_from(flags("RunFanout"), {"spec__prompt": "@all: hello"})["spec"]["prompt"] == "@all: hello"
    with pytest.raises(click.UsageError, match="cannot be read"):
        arguments_from(flags("PutRatings"), {"csv": f"@{tmp_path / 'no.csv'}"})
