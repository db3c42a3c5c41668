import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.server.judge.bench import rated, rubric
from tests.server.sweep.bench import HOME, RUN, House, last, means

from whet_server.errors import Reason
from whet_server.judge.spec import Asked
from whet_server.judge.sums import Folded
from whet_server.judging import Item, Judge, Outcome
from whet_server.llm.base import CallSpec
from whet_server.llm.keys import Sealer
from whet_server.llm.registry import Endpoints
from whet_server.score import names
from whet_server.score.scorers import Scorers
from whet_server.store.memory import MemoryStore
from whet_server.sweep.evaluate import HOLDOUT, Evaluator
from whet_server.sweep.examples import Examples
from whet_server.sweep.means import Answered
from whet_server.sweep.pipeline import PipelineTarget
from whet_server.sweep.spec import Pipeline, Stage, SweepSpec
from whet_server.sweeping import Budget, TrialCase
from whet_server.values import CallId, Failure, ModelName, Nanos, Parameters

SAID = "Air scatters blue light more."
ITEMS = tuple(Item(item_id=f"i{number}", input=f"Why {number}?", reference=SAID) for number in range(1, 4))
EXACT = Asked(name="exact", scorer=names.named("exact"))
SHORT = Asked(name="length", weight=3, scorer=names.named("length:1-3"))
CALL = 7 * 1000 + 3 * 2000
"""Nanos of each call of the house."""


def judged(*models: str, samples: int = 1, weight: float = 1.0) -> Asked:
    by = Judge(models=tuple(map(ModelName, models)), samples=samples, parameters=Parameters(max_tokens=500))
    return Asked(name="two", weight=weight, judge=by, rubric=rubric())


def house(**more: Any) -> House:
    rules: dict[str, Any] = {
        "a/one": lambda _: SAID,
        "j/kind": lambda _: rated(5, 5),
        "j/hard": lambda _: rated(1, 1),
        "j/lost": lambda _: "I do not know.",
    }
    return House(rules | more)


@pytest.fixture
async def scorers() -> AsyncIterator[Scorers]:
    there = Scorers(
        house(), await Endpoints.open(MemoryStore(), sealer=Sealer(bytes(32)), transports={}, configured=())
    )
    yield there
    await there.close()


def evaluator(caller: House, scorers: Scorers, *criteria: Asked, mark: str = "t") -> Evaluator:
    stages = (Stage(name="answer", template="{{ input }}", model=ModelName("a/one")),)
    spec = SweepSpec(pipeline=Pipeline(stages=stages), budget=Budget(money=Nanos(10**9), tokens=50_000))
    made = means(caller, spec)
    target = PipelineTarget(Pipeline(stages=stages), (), made, Examples((), 0), frozenset())
    return Evaluator(made, target, scorers, criteria, ITEMS, mark=mark)


async def case(of: Evaluator, stop: asyncio.Event | None = None) -> TrialCase:
    async with asyncio.timeout(10):
        return await of.case(3, {}, {}, ITEMS[1], 1, stop or asyncio.Event())


async def test_a_case_is_answered_scored_and_judged(scorers: Scorers) -> None:
    caller = house()
    found = await case(evaluator(caller, scorers, EXACT, judged("j/kind", "j/hard", samples=2)))
    assert (found.case_id, found.outcome, found.output) == ("i2", Outcome.SCORED, SAID)
    assert [verdict.criterion for verdict in found.verdicts] == ["exact", "two", "two", "two", "two"]
    assert found.score == pytest.approx((1.0 + 0.5) / 2)
    assert (found.cost, found.totals.settled) == (CALL, 5 * CALL)
    assert [call.call_id for call in caller.asked] == [
        f"{RUN}/t3-2-1/answer",
        *(f"{RUN}/t3-2-1/judge-{place}" for place in range(1, 5)),
    ]
    assert {(call.run_id, call.run_cap, call.run_token_cap) for call in caller.asked} == {(RUN, 10**9, 50_000)}


async def test_the_score_is_that_of_a_judgement(scorers: Scorers) -> None:
    criteria = (EXACT, SHORT, judged("j/kind", "j/hard", weight=2.0))
    found = await case(evaluator(house(), scorers, *criteria))
    item = Item(item_id="i2", candidates=(SAID,))
    assert found.score == Folded(criteria, (item,), found.verdicts).combined["i2"]
    assert found.score == pytest.approx((1.0 + 3 * 0.0 + 2 * 0.5) / 6)


async def test_a_failed_answer_has_its_call_s_outcome_and_is_judged_by_nobody(scorers: Scorers) -> None:
    refused = {
        Reason.CAP_EXCEEDED: Outcome.UNAFFORDABLE,
        Reason.TOTAL_TIMEOUT: Outcome.TIMED_OUT,
        Reason.CONTENT_FILTERED: Outcome.REFUSED,
        Reason.PROVIDER_ERROR: Outcome.FAILED,
    }
    for reason, outcome in refused.items():
        told = Failure(reason=reason, message="No.", metadata={"cap": "tokens"})
        caller = house(**{"a/one": lambda _, told=told: told})
        found = await case(evaluator(caller, scorers, EXACT, judged("j/kind")))
        assert (found.outcome, found.score, found.failure, found.verdicts) == (outcome, None, told, ())
        assert len(caller.asked) == 1


async def test_a_judge_without_a_verdict_leaves_the_case_without_a_score(scorers: Scorers) -> None:
    found = await case(evaluator(house(), scorers, EXACT, judged("j/lost")))
    assert (found.outcome, found.score) == (Outcome.UNPARSEABLE, None)
    assert found.failure is not None
    assert [verdict.outcome for verdict in found.verdicts] == [Outcome.SCORED, Outcome.UNPARSEABLE]
    assert found.totals.settled == 3 * CALL  # the answer, the judge and its repair


async def test_one_lost_judge_of_a_panel_leaves_the_others_their_say(scorers: Scorers) -> None:
    found = await case(evaluator(house(), scorers, judged("j/lost", "j/kind")))
    assert (found.outcome, found.score) == (Outcome.SCORED, 1.0)


async def test_a_criterion_aside_does_not_count(scorers: Scorers) -> None:
    aside = Asked(name="two", aside=True, judge=judged("j/lost").judge, rubric=rubric())
    found = await case(evaluator(house(), scorers, EXACT, aside))
    assert (found.outcome, found.score, len(found.verdicts)) == (Outcome.SCORED, 1.0, 2)


async def test_a_stopped_case_is_cancelled(scorers: Scorers) -> None:
    stop = asyncio.Event()
    stop.set()
    found = await case(evaluator(house(), scorers, EXACT), stop)
    assert (found.outcome, found.score) == (Outcome.CANCELLED, None)


async def test_a_cancelled_judge_leaves_no_score(scorers: Scorers) -> None:
    stop = asyncio.Event()

    def answers(call: CallSpec) -> str:
        stop.set()
        return f"{SAID}{last(call)[:0]}"

    found = await case(evaluator(house(**{"a/one": answers}), scorers, judged("j/kind")), stop)
    assert (found.outcome, found.score) == (Outcome.CANCELLED, None)


async def test_answers_of_the_hold_out_have_ids_of_their_own(scorers: Scorers) -> None:
    caller = house()
    await case(evaluator(caller, scorers, EXACT, mark=HOLDOUT))
    assert caller.asked[0].call_id == CallId(f"{RUN}/h3-2-1/answer")


async def test_a_retuned_budget_holds_for_the_next_call(scorers: Scorers) -> None:
    caller = house()
    made = means(caller, SweepSpec(budget=Budget(money=Nanos(5))))
    of = Evaluator(made, None, scorers, (judged("j/kind"),), ITEMS)
    made.budget = Budget(money=Nanos(9), tokens=77)
    found = await of.scored(0, ITEMS[0], Answered(output=SAID), 1, asyncio.Event())
    assert (found.score, found.output) == (1.0, SAID)
    assert (caller.asked[0].run_cap, caller.asked[0].run_token_cap) == (9, 77)
    with pytest.raises(TypeError, match="outside program"):
        await of.case(0, {}, {}, ITEMS[0], 1, asyncio.Event())
    assert caller.asked[0].workspace == HOME
