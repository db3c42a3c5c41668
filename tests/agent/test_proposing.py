"""What a wish becomes: the space, the measure and the budget, each with its ground."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from whet_agent.catalogue import request_from, tools
from whet_agent.conversation import ToolRequest, from_mind, from_user
from whet_agent.planner import answering
from whet_agent.planner.match import Matcher
from whet_agent.planner.plan import (
    START,
    WHICH,
    Call,
    Follow,
    GiveMore,
    Plan,
    Propose,
    Say,
    Situation,
    Start,
    situation_of,
)
from whet_agent.planner.sentences import Reader
from whet_agent.proposing import Facts, KnownModel, Wish, propose

SWP = "swp_1a"
AFTER = Situation(last_run=SWP, runs=(SWP,), names=frozenset({"support"}))
LABELS = ("billing", "technical", "shipping") * 10
MODELS = (KnownModel(name="a/now", price=10), KnownModel(name="a/dear", price=90), KnownModel(name="a/cheap", price=1))
FACTS = Facts(
    version=3,
    splits={"train": 40, "dev": 60, "holdout": 30},
    sealed=True,
    columns=["input", "reference"],
    input="input",
    reference="reference",
    references=LABELS,
    models=MODELS,
    read=True,
)


def spec(wish: Wish, facts: Facts = FACTS) -> dict[str, Any]:
    proposal = propose(wish, facts)
    assert not proposal.against
    request_from(tools()["plan_sweep"].method, {"spec": proposal.spec})  # it fits the contract
    return proposal.spec


def names(found: dict[str, Any]) -> list[str]:
    return [dimension["name"] for dimension in found["space"]]


def test_a_better_prompt_is_sought_among_prompts_that_name_the_labels() -> None:
    found = spec(Wish(dataset="support"))
    assert names(found) == ["answer.template", "answer.examples.count", "answer.temperature"]
    texts = [choice["text"] for choice in found["space"][0]["choices"]["choices"]]
    assert texts[0] == "{{ input }}"
    assert all("billing, shipping, technical" in text and text.endswith("{{ input }}") for text in texts[1:])
    assert found["scorers"] == ["exact"]
    assert found["objectives"] == [{"kind": "quality"}]
    assert found["dataset"] == {"name": "support", "split": "dev", "version": 3}
    assert (found["sampler"], found["budget"]) == ({"kind": "tpe"}, {"trials": 20})
    assert "holdout" not in found
    assert found == spec(Wish(dataset="support"))


def test_cheaper_and_no_worse_brings_cost_down_and_holds_quality() -> None:
    found = spec(Wish(dataset="support", goal="cheaper", money="$2"))
    assert found["objectives"] == [{"kind": "cost"}, {"kind": "quality", "margin": 0.02}]
    models = found["space"][-1]["choices"]["choices"]
    assert [model["label"] for model in models] == ["a/now", "a/cheap"]
    assert found["budget"]["money"] == "$2"


def test_a_bigger_model_is_one_that_costs_more_and_two_need_no_sampler() -> None:
    found = spec(Wish(dataset="support", bigger=True))
    assert [model["label"] for model in found["space"][0]["choices"]["choices"]] == ["a/now", "a/dear"]
    assert (found["sampler"], found["budget"]) == ({"kind": "grid"}, {"trials": 2})


def test_the_hold_out_is_opened_only_when_a_final_figure_is_wanted_and_it_is_sealed() -> None:
    assert spec(Wish(dataset="support", final=True))["holdout"] is True
    assert "holdout" not in spec(Wish(dataset="support", final=True), replace(FACTS, sealed=False))


def test_without_rows_to_show_there_are_no_examples_and_free_words_are_scored_by_overlap() -> None:
    facts = replace(FACTS, splits={"dev": 60}, references=[f"answer number {n}" for n in range(60)])
    found = spec(Wish(dataset="support"), facts)
    assert names(found) == ["answer.template", "answer.temperature"]
    assert found["scorers"] == ["overlap:token_f1"]
    assert "parameters" not in found["pipeline"]["stages"][0]


def test_a_prompt_that_was_given_is_the_baseline_and_stays_in_every_variant() -> None:
    found = spec(Wish(dataset="support", prompt="Which team is this for?"))
    texts = [choice["text"] for choice in found["space"][0]["choices"]["choices"]]
    assert texts[0] == "Which team is this for?\n\n{{ input }}"
    assert all(text.endswith(texts[0]) for text in texts)


def test_labels_that_would_be_read_as_a_template_are_not_put_into_one() -> None:
    assert replace(FACTS, references=["{{ input }}", "x"] * 9).labels == ()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(FACTS, splits={"train": 100}), "no rows in the split dev"),
        (replace(FACTS, input="", columns=["a", "b"]), "There are: a, b."),
        (replace(FACTS, references=()), "no column `reference`"),
    ],
)
def test_what_cannot_be_swept_is_said_with_what_to_do(facts: Facts, words: str) -> None:
    assert words in propose(Wish(dataset="support"), facts).against


def test_columns_of_other_names_are_named_in_the_sweep() -> None:
    found = spec(Wish(dataset="support"), replace(FACTS, input="text", reference="label"))
    assert (found["dataset"]["input"], found["dataset"]["reference"]) == ("text", "label")


@cache
def reader() -> Reader:
    return Reader(tools=tools(), matcher=Matcher(tools()))


def wished(text: str, situation: Situation = AFTER) -> Propose:
    plan = reader().read(text, situation)
    assert isinstance(plan, Propose), plan
    return plan


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("find me a better prompt for support", Wish(dataset="support")),
        (
            "find a cheaper model on the data set faq that is no worse",
            Wish(dataset="faq", goal="cheaper", parts=frozenset({"model"})),
        ),
        (
            "sweep temperature and model over support for at most 2 dollars",
            Wish(dataset="support", parts=frozenset({"temperature", "model"}), money="$2"),
        ),
        (
            'optimise the prompt "Which team?" for support with 40 trials and give me the final figure',
            Wish(dataset="support", prompt="Which team?", trials=40, final=True),
        ),
        (
            "tune the temperature on support with a grid in half an hour",
            Wish(dataset="support", parts=frozenset({"temperature"}), sampler="grid"),
        ),
    ],
)
def test_a_wish_is_read_with_everything_it_says(text: str, wish: Wish) -> None:
    assert wished(text).wish == wish


def test_a_wish_may_take_a_night_or_ask_for_its_price_first() -> None:
    assert wished("what would it cost to find a better prompt for support").wish == Wish(dataset="support")
    assert wished("find a better prompt for support overnight").wish.seconds == 8 * 3600


OPEN = replace(
    AFTER,
    last_said=f"up to 20 trials\n\n{START}",
    talk=(("", "find a better prompt for support in the background"),),
    proposed={"budget": {"trials": 20}},
)
WISH = Wish(dataset="support")


@pytest.mark.parametrize("text", ["yes", "Yes, start it!", "go", "ok, go ahead", "y", "start it in the background"])
def test_a_plain_yes_starts_what_was_shown(text: str) -> None:
    assert answering.read(text, OPEN) == Start(spec=OPEN.proposed, behind=True)


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("with 10 trials", replace(WISH, trials=10)),
        ("yes, but with ten trials and at most $2", replace(WISH, trials=10, money="$2")),
        ("only sim/fast", replace(WISH, models=("sim/fast",), parts=frozenset({"prompt", "examples", "temperature"}))),
        ("only the temperature", replace(WISH, parts=frozenset({"temperature"}))),
        ("without examples", replace(WISH, parts=frozenset({"prompt", "temperature"}))),
        ("with a final figure on the hold-out", replace(WISH, final=True)),
        ("use random search, within an hour", replace(WISH, sampler="random", seconds=3600)),
        ("on 40 cases", replace(WISH, limit=40)),
    ],
)
def test_a_change_is_proposed_and_asked_about_again(text: str, wish: Wish) -> None:
    assert answering.read(text, OPEN) == Propose(wish=wish)
    again = replace(OPEN, talk=(*OPEN.talk, (START, text)))
    assert answering.read("without the hold-out, with 30 trials", again) == Propose(
        wish=replace(wish, trials=30, final=False)
    )


@pytest.mark.parametrize("text", ["no", "No, thanks.", "never mind", "don't start it"])
def test_a_no_drops_it(text: str) -> None:
    assert answering.read(text, OPEN) == Say(text="Dropped. Nothing was started.")


@pytest.mark.parametrize("text", ["with more pepper", "only on Sundays"])
def test_a_change_that_is_not_understood_starts_nothing_and_keeps_the_question_open(text: str) -> None:
    said = answering.read(text, OPEN)
    assert isinstance(said, Say)
    assert said.text.endswith(START)


@pytest.mark.parametrize("text", ["what is a monad?", "how do sweeps work", "don't", "yes?", "should I start it?"])
def test_another_sentence_starts_nothing(text: str) -> None:
    assert not isinstance(answering.read(text, OPEN), Start | Propose)


def test_once_it_has_been_started_the_question_is_closed() -> None:
    start = (ToolRequest(call_id="c", name="sweep", arguments='{"spec": {}}'),)
    talk = [from_user(1, "find a better prompt for support"), from_mind(1, 1, START, (), author="mind")]
    assert situation_of([*talk, from_user(2, "yes")], panel=()).talk
    begun = [*talk, from_user(2, "yes"), from_mind(2, 1, "", start, author="mind"), from_user(2, "cancel it")]
    assert answering.read("cancel it", situation_of(begun, panel=())) is None


def test_without_an_open_question_a_yes_means_nothing() -> None:
    assert answering.read("yes", AFTER) is None


def test_the_name_alone_goes_on_with_the_wish() -> None:
    asked = replace(
        AFTER, last_said=f"There are: faq, support. {WHICH}", talk=(("", "find me a cheaper model for the summariser"),)
    )
    wish = Wish(dataset="faq", goal="cheaper", parts=frozenset({"model"}))
    for text in ("faq", "the data set faq, please", "Over faq."):
        found = answering.read(text, asked)
        assert isinstance(found, Propose), text
        assert found.wish == wish
    assert answering.read("what is a data set?", asked) is None


def test_a_change_of_a_sweep_that_follows_another_is_one_of_its_budget() -> None:
    chain = {"chain": {"parent_run_id": SWP, "step": "narrow"}}
    asked = replace(OPEN, talk=(("", "narrow it"),), proposed=chain)
    assert answering.read("with 10 trials", asked) == Follow(run_id=SWP, step="narrow", budget={"trials": 10})


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("pause it", Call(tool="control_sweep", arguments={"run_id": SWP, "action": "pause"})),
        ("stop the sweep", Call(tool="control_sweep", arguments={"run_id": SWP, "action": "stop"})),
        ("give it two more dollars", GiveMore(run_id=SWP, money="$2")),
        ("narrow it", Follow(run_id=SWP, step="narrow")),
        ("how is it going?", Call(tool="get_sweep", arguments={"run_id": SWP})),
        ("export the winner as yaml", Call(tool="export_sweep", arguments={"run_id": SWP, "format": "yaml"})),
        ("compare trials 0 and 12", Call(tool="list_cases", arguments={"run_id": SWP, "trials": [0, 12]})),
    ],
)
def test_after_a_sweep_it_is_the_sweep(text: str, plan: Plan) -> None:
    assert reader().read(text, AFTER) == plan


@pytest.mark.parametrize(
    "text",
    ["don't stop the sweep", "should I sweep the temperature?", "stop swp_2 or swp_3 maybe"],
)
def test_what_is_denied_wondered_about_or_incomplete_is_asked_about(text: str) -> None:
    assert isinstance(reader().read(text, AFTER), Say)
