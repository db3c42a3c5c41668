"""What a sweep would cost and how long it would take.

What cases are likely to cost is looked up for some configurations of the space, drawn by the sweep's seed, and scaled.
The worst bounds every answer that there may be, replicates and the hold-out included, by the dearest settings of the
space for each call, and every question to a judge with one repair, when no attempt fails.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from random import Random
from typing import Final

from msgspec.structs import replace

from whet_server.judge import asking
from whet_server.judge import forecast as judging
from whet_server.judge.pace import at_once
from whet_server.judging import Item
from whet_server.llm.base import ModelInfo
from whet_server.score.scorers import Scorers, costs_money
from whet_server.sweep.guess import Guess, guess
from whet_server.sweep.means import Means
from whet_server.sweep.space import Space
from whet_server.sweep.spec import SweepRecord
from whet_server.sweep.target import Target
from whet_server.sweeping import RacingMethod, SweepPlan, configuration_of
from whet_server.values import NANOSECONDS, ModelName, Nanos, Value

_CONFIGURATIONS: Final = 16
"""Configurations that are looked up beside the baseline: the cost of a mixed space is then known to a quarter or so."""
_CASES: Final = 4
"""Cases that are looked up for each of them, other ones each time."""
_BOUNDED: Final = 400
"""Cases whose worst cost is bounded one by one; of more, the longest ones stand for all."""
_LONGEST: Final = 20


class Costs(Value):
    """What a sweep would cost, before its budget caps it."""

    calls: int = 0
    cache_hits: int = 0
    low: Nanos = Nanos(0)
    expected: Nanos = Nanos(0)
    worst: Nanos = Nanos(0)
    duration_ns: int = 0


class Answers(Value):
    """How many answers there will be: `whole` if no trial is stopped early, `least` and `likely` if racing stops some,
    `most` with all replicates. All but `least` count the hold-out's.
    """

    whole: int
    least: int
    likely: int
    most: int

    @classmethod
    def of(cls, plan: SweepPlan) -> "Answers":
        """Count them. Racing that stops every trial but the baseline as soon as it may is the least."""
        whole = plan.trials * plan.cases
        few = min(plan.cases, plan.racing.min_cases) if plan.racing.method is not RacingMethod.NONE else plan.cases
        least = plan.cases + (plan.trials - 1) * few
        holdout = 2 * plan.holdout_rows
        return cls(
            whole=whole + holdout,
            least=least,
            likely=(whole + least) // 2 + holdout,
            most=whole * (1 + plan.racing.replicates) + holdout,
        )


async def costs(
    target: Target | None,
    means: Means,
    scorers: Scorers,
    record: SweepRecord,
    items: Sequence[Item],
    models: Mapping[ModelName, ModelInfo],
) -> Costs:
    """Say what a sweep would cost. Of an outside program's (`target` None) only judges and scorers cost anything."""
    if not items:
        return Costs()
    answers = Answers.of(record.plan)
    likely, looked = await _likely(target, means, record, items)
    worst = await _worst(target, means, record, items, models)
    scoring = await _scoring(means, scorers, record, items, target)
    return Costs(
        calls=round(answers.whole * (likely.calls / looked)),
        cache_hits=round(answers.whole * (likely.cached / looked)),
        low=Nanos(round(answers.least * (likely.low / looked))),
        expected=Nanos(round(answers.likely * (likely.expected / looked + scoring / 2))),
        worst=Nanos(answers.most * (worst + scoring)),
        duration_ns=round(_seconds(likely, looked, answers.likely, record.plan, models) * NANOSECONDS),
    )


async def _likely(target: Target | None, means: Means, record: SweepRecord, items: Sequence[Item]) -> tuple[Guess, int]:
    """Return the sum over the cases that were looked up, and how many these are."""
    space, random = Space(record.spec.space), Random(record.plan.seed)  # noqa: S311 -- it draws what is looked up
    drawn = [space.drawn(random) for _ in range(_CONFIGURATIONS)] if record.spec.space else []
    cases = cycle(items[:: max(1, len(items) // (_CONFIGURATIONS * _CASES))])
    whole, looked = Guess(), 0
    for configuration in (configuration_of(record.plan.baseline), *drawn):
        for item in islice(cases, _CASES):
            answered = item.reference
            if target is not None:
                found, answered = await target.guess(configuration, item)
                whole += found
            whole += await _judged(means, record, replace(item, candidates=(answered,)))
            looked += 1
    return whole, looked


async def _judged(means: Means, record: SweepRecord, item: Item) -> Guess:
    """Look up what judging an answer would cost. Judges are asked at once, so that the slowest counts."""
    found = []
    for asked in record.criteria:
        if asked.judge is not None and asked.rubric is not None:
            for question in asking.questions(item, asked.name, asked.judge, asked.rubric):
                call = asking.call_of(question, means.workspace, means.run_id, cache_bypass=means.cache_bypass)
                found.append(guess(call, await means.caller.estimate(call)))
    return replace(sum(found, Guess()), seconds=max((each.seconds for each in found), default=0.0))


async def _worst(
    target: Target | None,
    means: Means,
    record: SweepRecord,
    items: Sequence[Item],
    models: Mapping[ModelName, ModelInfo],
) -> int:
    """Bound what an answer costs with its judges, on the mean over the cases or by the longest of them."""
    chosen = items
    if len(items) > _BOUNDED:
        chosen = sorted(items, key=lambda item: len(item.input) + sum(map(len, item.fields.values())))[-_LONGEST:]
    found = []
    for item in chosen:
        await asyncio.sleep(0)  # others get their turn
        answered, money = await target.worst(item) if target is not None else (item.reference, 0)
        judged = replace(item, candidates=(answered,))
        for asked in record.criteria:
            if asked.judge is not None and asked.rubric is not None:
                for question in asking.questions(judged, asked.name, asked.judge, asked.rubric):
                    call = asking.call_of(question, means.workspace, means.run_id)
                    money += judging.worst(call, models.get(question.model) or await means.info(question.model))
        found.append(money)
    return max(found) if len(items) > _BOUNDED else -(-sum(found) // len(found))


async def _scoring(
    means: Means, scorers: Scorers, record: SweepRecord, items: Sequence[Item], target: Target | None
) -> int:
    """Return what scorers of one answer cost at most: embeddings of an endpoint."""
    paid = [asked.scorer for asked in record.criteria if asked.scorer is not None and costs_money(asked.scorer)]
    if not paid:
        return 0
    longest = max(items, key=lambda item: len(item.input) + len(item.reference))
    answered = (await target.worst(longest))[0] if target is not None else longest.reference
    return (await scorers.forecast(means.workspace, [replace(longest, candidates=(answered,))], paid)).worst


def _seconds(likely: Guess, looked: int, answers: int, plan: SweepPlan, models: Mapping[ModelName, ModelInfo]) -> float:
    """Return answers x time / what is under way at once; a model that is asked fewer at once takes longer."""
    each = likely.seconds / looked
    side_by_side = max(1, min(plan.concurrency, plan.trials_at_once * plan.cases))
    whole = answers * each / side_by_side
    for model, calls in likely.asked:
        most = at_once(models[model]) if model in models else 0
        if most:
            whole = max(whole, answers * each * (calls / likely.calls) / min(most, side_by_side))
    return whole
