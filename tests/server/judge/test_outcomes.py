"""Every question has one outcome, and only a score is a score."""

import asyncio
from contextlib import aclosing

import pytest
from tests.server.fanout.panel import COST, HOME, ME, PATIENCE, Answer, Panel, of
from tests.server.judge.court import (
    GARBAGE,
    JUDGE,
    SECOND,
    by_number,
    court,
    items,
    judge,
    number_of,
    outcomes,
    preferring,
    verdicts,
)

from whet_server.errors import Reason
from whet_server.judge.spec import Criterion, ItemOrder, JudgementSpec
from whet_server.judging import JudgeMode, Outcome
from whet_server.llm.base import CallResult, CallSpec, Listener
from whet_server.log.events import JudgementProgress
from whet_server.log.lifecycle import BranchState
from whet_server.score.remote import Offer
from whet_server.score.spec import ExactScorer, LengthScorer
from whet_server.values import Failure, RunState

NO_MONEY = Failure(reason=Reason.CAP_EXCEEDED, message="The run's cap does not allow that.")


def failed(reason: Reason) -> Answer:
    return Answer(failure=Failure(reason=reason, message=f"It said {reason}."))


async def test_every_verdict_in_makes_a_run_that_succeeded() -> None:
    async with court({JUDGE: by_number()}) as room:
        view = await room.judge(JudgementSpec(items=items(10), judge=judge()))
    (summary,) = view.sums.criteria
    assert view.run.state is RunState.SUCCEEDED
    assert outcomes(view) == {Outcome.SCORED: 10}
    assert summary.mean.value == pytest.approx(0.5)
    assert summary.mean_value == pytest.approx(3.0)
    assert summary.histogram == (2, 0, 2, 0, 0, 2, 0, 2, 0, 2)
    assert [dimension.levels for dimension in summary.dimensions] == [(2, 2, 2, 2, 2)] * 2
    assert summary.judge is not None
    assert summary.judge.rubric == "two@1"
    assert (view.verdicts, view.run.totals.attempts) == (10, 10)


async def test_garbage_in_a_tenth_of_the_answers_leaves_the_mean_of_the_others_as_it_is() -> None:
    garbage = {number: Answer(text=GARBAGE) for number in range(0, 1000, 10)}
    whole = items(1000)
    kept = tuple(item for number, item in enumerate(whole) if number not in garbage)
    async with court({JUDGE: by_number(garbage)}) as room:
        with_it = await room.judge(JudgementSpec(items=whole, judge=judge()))
        without = await room.judge(JudgementSpec(items=kept, judge=judge()))
        asked_again = sum(call.call_id.endswith("-repair") for call in room.panel.asked)
    one, other = with_it.sums.criteria[0], without.sums.criteria[0]
    assert outcomes(with_it) == {Outcome.SCORED: 900, Outcome.UNPARSEABLE: 100}
    assert (one.items, one.scored_items, asked_again) == (1000, 900, 100)
    assert (one.mean, one.deviation, one.histogram) == (other.mean, other.deviation, other.histogram)
    assert with_it.run.state is RunState.PARTIAL
    assert with_it.failure is not None
    assert with_it.failure.metadata == {"unparseable": "100"}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(text="I'm sorry, I can't judge this."), Outcome.REFUSED),
        (failed(Reason.CONTENT_FILTERED), Outcome.REFUSED),
        (failed(Reason.TOTAL_TIMEOUT), Outcome.TIMED_OUT),
        (failed(Reason.CAP_EXCEEDED), Outcome.UNAFFORDABLE),
        (failed(Reason.PRICE_UNKNOWN), Outcome.UNAFFORDABLE),
        (failed(Reason.PROVIDER_ERROR), Outcome.FAILED),
        (Answer(text=GARBAGE), Outcome.UNPARSEABLE),
    ],
)
async def test_what_is_no_score_is_counted_and_left_out_of_the_mean(answer: Answer, outcome: Outcome) -> None:
    async with court({JUDGE: by_number({0: answer, 4: answer})}) as room:
        run_id = await room.start(JudgementSpec(items=items(10), judge=judge()))
        await room.events(run_id)
        view = await room.judgements.get(HOME, run_id)
        short = [verdict for verdict in await room.verdicts(run_id) if verdict.outcome is not Outcome.SCORED]
    assert outcomes(view) == {Outcome.SCORED: 8, outcome: 2}
    assert {verdict.item_id for verdict in short} == {"i0", "i4"}
    assert all(verdict.score is None and verdict.failure is not None for verdict in short)
    assert view.run.state is RunState.PARTIAL
    assert view.sums.criteria[0].mean.value == pytest.approx((2 + 3 + 4 + 1 + 2 + 3 + 4 + 5 - 8) / 4 / 8)


async def test_an_abstention_is_an_answer_and_no_score() -> None:
    silent = Answer(text='{"dimensions": {"right": {"level": null}, "short": {"level": null}}, "summary": "Unclear."}')
    async with court({JUDGE: by_number({3: silent})}) as room:
        view = await room.judge(JudgementSpec(items=items(5), judge=judge()))
    assert outcomes(view) == {Outcome.SCORED: 4, Outcome.ABSTAINED: 1}
    assert view.run.state is RunState.SUCCEEDED


async def test_a_run_without_any_score_failed_with_the_first_reason() -> None:
    broken = dict.fromkeys(range(3), failed(Reason.KEY_REFUSED))
    async with court({JUDGE: by_number(broken)}) as room:
        view = await room.judge(JudgementSpec(items=items(3), judge=judge()))
    assert view.run.state is RunState.FAILED
    assert view.failure is not None
    assert view.failure.reason == Reason.KEY_REFUSED
    assert view.sums.criteria[0].mean.value is None


async def test_an_uncalibrated_judge_is_not_asked_when_a_calibrated_one_is_wanted() -> None:
    spec = JudgementSpec(items=items(4), judge=judge(), scorers=("exact",), require_calibrated=True)
    async with court({JUDGE: by_number()}) as room:
        plan = await room.judgements.plan(ME, spec)
        run_id = await room.start(spec)
        await room.events(run_id)
        view = await room.judgements.get(HOME, run_id)
        reasons = {verdict.failure.reason for verdict in await room.verdicts(run_id) if verdict.failure}
        assert not room.panel.asked
    assert (plan.calls, plan.worst) == (0, 0)
    assert outcomes(view) == {Outcome.UNCALIBRATED: 4}
    assert outcomes(view, 1) == {Outcome.SCORED: 4}
    assert reasons == {Reason.JUDGE_UNCALIBRATED}
    assert view.run.totals.attempts == 0


async def test_a_cancelled_run_accounts_for_what_it_did_not_ask() -> None:
    held = {number: Answer(text=GARBAGE, gate="never") for number in range(3, 40)}
    async with court({JUDGE: by_number(held)}) as room:
        run_id = await room.start(JudgementSpec(items=items(40), judge=judge(), concurrency=5))
        await room.panel.until(lambda: len(room.panel.asked) == 8)
        view = await room.judgements.cancel(HOME, run_id)
        events = await room.log.events(HOME, run_id)
        listed = await room.judgements.list(HOME)
    cut = [verdict for verdict in verdicts(events) if verdict.outcome is Outcome.CANCELLED]
    assert view.run.state is RunState.CANCELLED
    assert outcomes(view) == {Outcome.SCORED: 3, Outcome.CANCELLED: 37}
    assert len(cut) == 5
    assert all(verdict.totals.attempts for verdict in cut)
    assert view.run.totals.attempts == 8
    assert [each.verdicts for each in listed] == [3]


async def test_a_cancelled_run_does_not_wait_for_a_users_scorer() -> None:
    async with court({}) as room:
        connection = room.scorers.remotes.connect(HOME, Offer(name="slow"))
        run_id = await room.start(JudgementSpec(items=items(3), scorers=("remote:slow",)))
        async with asyncio.timeout(PATIENCE), aclosing(connection.tasks()) as tasks:
            await anext(tasks)
            view = await room.judgements.cancel(HOME, run_id)
    assert view.run.state is RunState.CANCELLED
    assert outcomes(view) == {Outcome.CANCELLED: 3}


class Poor(Panel):
    """A panel that has money for so many calls, and holds that of `at_once` calls until they have ended."""

    money = 1_000_000
    at_once = 2
    under_way = 0
    refused = 0

    async def call(self, spec: CallSpec, listener: Listener, stop: asyncio.Event) -> CallResult:
        if self.under_way >= min(self.at_once, self.money):
            self.refused += 1
            return CallResult(state=BranchState.FAILED, model=spec.models[0], failure=NO_MONEY)
        self.under_way += 1
        for _ in range(5):
            await asyncio.sleep(0)
        result = await super().call(spec, listener, stop)
        self.under_way -= 1
        self.money -= 1
        return result


async def test_a_question_that_a_cap_refuses_waits_for_the_money_that_others_hold() -> None:
    panel = Poor({JUDGE: by_number()})
    async with court({}, panel=panel) as room:
        view = await room.judge(JudgementSpec(items=items(30), judge=judge(), concurrency=10))
    assert outcomes(view) == {Outcome.SCORED: 30}
    assert panel.refused >= 8


async def test_when_the_money_is_gone_every_question_that_is_left_is_unaffordable() -> None:
    panel = Poor({JUDGE: by_number()})
    panel.money = 7
    async with court({}, panel=panel) as room:
        view = await room.judge(JudgementSpec(items=items(200), judge=judge(), concurrency=20))
    assert outcomes(view) == {Outcome.SCORED: 7, Outcome.UNAFFORDABLE: 193}
    assert view.verdicts == 200
    assert panel.refused < 2 * 200


async def test_scorers_and_judges_make_a_weighted_score_where_every_criterion_has_one() -> None:
    broken = {1: Answer(text=GARBAGE)}
    spec = JudgementSpec(
        items=items(5),
        criteria=(
            Criterion(judge=judge(), weight=3.0),
            Criterion(name="same", scorer=ExactScorer(), weight=1.0),
            Criterion(name="long", scorer=LengthScorer(min=1), aside=True),
        ),
    )
    async with court({JUDGE: by_number(broken)}) as room:
        run_id = await room.start(spec)
        await room.events(run_id)
        view, shown, _ = await room.judgements.page(HOME, run_id, ItemOrder())
    assert view.plan.criteria == ("two", "same", "long")
    assert [each.score for each in shown] == [pytest.approx(0.25), None, 0.625, pytest.approx(0.8125), 1.0]
    assert view.sums.combined is not None
    assert (view.sums.combined.items, view.sums.combined.scored_items) == (5, 4)
    assert view.sums.combined.mean.value == pytest.approx((0.25 + 0.625 + 0.8125 + 1.0) / 4)


async def test_a_panel_says_how_far_it_agrees_and_that_one_of_it_never_scored() -> None:
    async with court({JUDGE: by_number(), SECOND: by_number(level=lambda _: 5)}) as room:
        view = await room.judge(JudgementSpec(items=items(10), judge=judge(JUDGE, SECOND)))
    (summary,) = view.sums.criteria
    assert summary.mean.value == pytest.approx(0.75)
    assert summary.panel_alpha.value is not None
    assert summary.panel_alpha.value < 0.2
    assert not summary.degraded
    async with court({JUDGE: by_number(), SECOND: Answer(text=GARBAGE)}) as room:
        view = await room.judge(JudgementSpec(items=items(10), judge=judge(JUDGE, SECOND)))
    assert view.sums.criteria[0].degraded
    assert view.sums.criteria[0].scored_items == 10


async def test_a_pair_is_won_only_in_both_orders() -> None:
    """Item 0: the first candidate is better. Item 1: always what is shown first. Item 2: a tie."""

    def better(call: CallSpec) -> str:
        number, text = number_of(call), call.messages[1].content
        swapped = text.rindex("version 1") < text.rindex("version 0")
        return ["B" if swapped else "A", "A", "tie"][number]

    async with court({JUDGE: preferring(better)}) as room:
        spec = JudgementSpec(items=items(3, candidates=2), judge=judge(mode=JudgeMode.PAIRWISE))
        view = await room.judge(spec)
    (summary,) = view.sums.criteria
    assert outcomes(view) == {Outcome.SCORED: 6}
    assert [(each.wins, each.ties, each.losses) for each in summary.standings] == [(1, 2, 0), (0, 2, 1)]
    assert (summary.order_flips, summary.order_pairs) == (1, 3)
    assert summary.mean.value == pytest.approx((1 + 0.5 + 0.5) / 3)


async def test_who_watches_hears_how_far_it_is() -> None:
    async with court({JUDGE: by_number({2: Answer(text=GARBAGE, gate="late")})}) as room:
        run_id = await room.start(JudgementSpec(items=items(3), judge=judge()))
        await room.panel.until(lambda: len(room.panel.ended) == 2)
        async with asyncio.timeout(PATIENCE), aclosing(room.judgements.watch(HOME, run_id)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                if found := [each for each in of(batch.events, JudgementProgress) if each.verdicts == 2]:
                    break
        room.panel.gate("late").set()
        await room.events(run_id)
    assert (found[-1].planned, found[-1].in_flight) == (3, 1)
    assert found[-1].totals.settled == 2 * COST
    assert found[-1].expected_left == COST
    assert [(count.outcome, count.count) for count in found[-1].outcomes] == [(Outcome.SCORED, 2)]
    assert found[-1].time_left_ns is not None
