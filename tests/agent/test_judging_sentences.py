"""Sentences about judging: names are found by their place, and no doubtful one spends or changes anything."""

from functools import cache
from typing import Any

import pytest

from whet_agent.catalogue import request_from, tools
from whet_agent.planner.commands import parse
from whet_agent.planner.match import Matcher
from whet_agent.planner.named import names_in
from whet_agent.planner.plan import Call, Say, Situation
from whet_agent.planner.sentences import Reader

NOTHING = Situation()
KNOWN = Situation(
    last_run="jud_01k9", runs=("fan_77ab", "aud_01z8", "jud_01k9"), names=frozenset({"support"}), question="Why?"
)


@cache
def reader() -> Reader:
    return Reader(tools=tools(), matcher=Matcher(tools()))


def called(text: str, situation: Situation = KNOWN) -> Call:
    plan = reader().read(text, situation)
    assert isinstance(plan, Call), plan
    return plan


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the data set faq", {"dataset": "faq"}),
        ("the faq data set", {"dataset": "faq"}),
        ("which data sets", {}),
        ("what does the data set have", {}),
        ("by the rubric support-tone", {"rubric": "support-tone"}),
        ("with problem-solving", {"rubric": "problem-solving"}),
        ("by sim/judge and openai/gpt-5-mini?", {"model": ["sim/judge", "openai/gpt-5-mini"]}),
        ("split faq 60/20/20", {"dataset": "faq", "shares": {"train": 60, "dev": 20, "holdout": 20}}),
        ("split faq 0.5 0.3 0.2", {"dataset": "faq", "shares": {"train": 0.5, "dev": 0.3, "holdout": 0.2}}),
        ("audit sim/judge?bias=injection&seed=2.", {"model": ["sim/judge?bias=injection&seed=2"]}),
        ("by answer-quality", {"rubric": "answer-quality"}),
        ("with regex:^[A-Z]+$ and length:20-100", {"scorer": ["regex:^[A-Z]+$", "length:20-100"]}),
        ("show 3 rows of faq", {"dataset": "faq", "limit": 3}),
        ("split faq into 80 %, 10 % and 10 %", {"dataset": "faq", "shares": {"train": 80, "dev": 10, "holdout": 10}}),
        ("rows of the dev split of faq", {"split": ["dev"]}),
        ("with rouge 2, token f1 and exact match", {"scorer": ["overlap:rouge_2", "overlap:token_f1", "exact"]}),
        ("upload ./data/a.jsonl", {"file": "./data/a.jsonl"}),
        ("for at most $0.50", {"cap": "$0.5"}),
        ("at 70 %", {"bar": 0.7}),
    ],
)  # fmt: skip
def test_names_are_found_by_their_place(text: str, found: dict[str, Any]) -> None:
    assert names_in(text).found.items() >= found.items()
    if not found:
        assert names_in(text).found == {}


def test_everything_that_a_judgement_needs_is_in_one_sentence() -> None:
    call = called(
        "judge the dev split of the data set faq with sim/judge by the rubric tone, and exact, for at most $1"
    )
    assert call.arguments["spec"] == {
        "dataset": {"name": "faq", "split": "dev"},
        "judge": {"models": ["sim/judge"], "rubric": "tone"},
        "scorers": ["exact"],
        "cap": "$1",
    }
    assert request_from(tools()["judge"].method, call.arguments).ByteSize() > 0


def test_what_the_conversation_has_named_needs_no_more_words() -> None:
    assert called("judge support with rouge").arguments["spec"]["dataset"] == {"name": "support"}
    assert called("score the answers with rouge").arguments["spec"]["fanout_run_id"] == "fan_77ab"
    assert called("does that judgement pass?").arguments == {"run_id": "jud_01k9"}
    assert called("what did the last audit find?").arguments == {"run_id": "aud_01z8"}


def test_it_means_the_last_run_of_whatever_kind() -> None:
    assert called("stop it") == Call(tool="cancel_judgement", arguments={"run_id": "jud_01k9"})
    audited = Situation(last_run="aud_01", runs=("aud_01",))
    assert called("show it", audited).tool == "get_audit"


@pytest.mark.parametrize(
    "text",
    [
        "judge",
        "judge the data set",
        "judge everything with sim/judge",
        "do not judge the data set support",
        "should I judge the data set support?",
        "is the judge sim/judge biased on the data set support?",
        "open the seal of support",
        "open the seal of support version 3",
        "never open the seal of support version 3 because we ship",
        "if we ship open the seal of support version 3 because we ship",
        "split the data set support",
        "tag the data set support",
        "calibrate it or not",
        "start a judgement",
        "upload the data set support",
        "audit sim/judge",
    ],
)
def test_a_doubtful_sentence_neither_spends_nor_changes_anything(text: str) -> None:
    plan = reader().read(text, NOTHING)
    assert isinstance(plan, Say) or tools()[plan.tool].effect == "reads"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "what is a good judge?",
        "who judges the judges?",
        "how do I split a data set in pandas?",
        "the judge said guilty, what now",
        "write a rubric for essays about whales",
        "explain Cohen's kappa",
        "rate of change of a function",
        "ask sim/fast to judge this poem: roses are red",
    ],
)
def test_what_is_about_the_world_goes_to_the_panel(text: str) -> None:
    plan = reader().read(text, NOTHING)
    assert isinstance(plan, Call)
    assert plan.tool == "fanout"


def test_no_step_points_at_a_run_that_has_no_name_yet() -> None:
    plan = reader().read("judge the data set support with sim/judge, then calibrate it", KNOWN)
    assert isinstance(plan, Say)


def test_a_question_back_can_be_answered_with_its_number() -> None:
    plan = reader().read("is the judge sim/judge biased on the data set faq?", NOTHING)
    assert isinstance(plan, Say)
    command = plan.text.partition("`")[2].partition("`")[0]
    again = parse(command, tools(), NOTHING)
    assert again == Call(
        tool="audit_judge",
        arguments={"spec": {"judge": {"models": ["sim/judge"]}, "dataset": {"name": "faq"}}},
    )


def test_slash_commands_name_things_as_the_command_line_does() -> None:
    plan = parse("/judge --dataset faq --rubric tone --model sim/judge --scorer exact", tools(), NOTHING)
    assert isinstance(plan, Call)
    judge = {"rubric": "tone", "models": ["sim/judge"]}
    assert plan.arguments == {"spec": {"dataset": {"name": "faq"}, "judge": judge, "scorers": ["exact"]}}
    assert parse("/gate", tools(), KNOWN) == Call(tool="gate_judgement", arguments={"run_id": "jud_01k9"})
    seal = parse('/open_seal support 3 "we ship"', tools(), NOTHING)
    assert seal == Call(tool="open_seal", arguments={"name": "support", "version": 3, "reason": "we ship"})
