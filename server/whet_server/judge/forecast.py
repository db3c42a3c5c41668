"""What a judgement would cost and how long it would take.

The worst cost bounds every question and one repair of each, when no attempt fails: all prompts are made and measured,
each byte a token as the ledger reserves it. What the cache has and what verdicts are likely to cost is looked up for
`SAMPLE` questions spread evenly over all of them, and scaled: the look into the cache is the dear part.
"""

import asyncio
from collections import Counter
from collections.abc import Collection
from functools import cache
from typing import Final

from whet_server.judge import prompts
from whet_server.judge.pace import Pace, at_once
from whet_server.judge.plan import Planned, call_of, expected, plan_hash, questions
from whet_server.judge.spec import JudgementForecast
from whet_server.llm.base import Caller, CallSpec, ModelInfo
from whet_server.llm.tab import Worst
from whet_server.values import Forecast, ModelName, Nanos, Parameters, RunId, Value, Workspace, cost

SAMPLE: Final = 500
"""Questions that are looked up one by one: a share of cached ones is then known to within five in a hundred."""
_FEW: Final = 20
"""Questions from which the cost of all is guessed."""
SHORT_VERDICT: Final = 80
"""Tokens of a verdict that says little."""
_WIDEST: Final = "\N{GRINNING FACE}"
"""A character of four bytes: no text of so many characters can be longer."""
_COMPLAINT: Final = 1_000
"""Characters of what is said to be wrong with an answer; more than `judge.reading` ever says."""
_LONG_ANSWER: Final = 100_000
"""Characters of an answer that is no verdict; of longer ones a judge is shown no more either."""
_AT_ONCE: Final = 200
"""Prompts made before others get their turn."""


class _Sums(Value):
    """Of the questions looked at. `worst` is over all of them, the others over the sample."""

    calls: int = 0
    looked: int = 0
    cached: int = 0
    low: int = 0
    expected: int = 0
    worst: int = 0
    asked: dict[ModelName, int] = {}


async def forecast(
    caller: Caller, workspace: Workspace, planned: Planned, scoring: Forecast, blocked: Collection[str], pace: Pace
) -> JudgementForecast:
    """Say what the planned judgement would cost; `scoring` is what its scorers do. The judges of `blocked` criteria
    will not be asked. `pace` knows how long verdicts take.
    """
    sums = await _summed(caller, workspace, planned, blocked)
    scale = sums.calls / sums.looked if sums.looked else 0.0
    models = {model: planned.models[model] for model in sums.asked}
    return JudgementForecast(
        plan_hash=await asyncio.to_thread(plan_hash, workspace, planned),
        calls=sums.calls + scoring.calls,
        cache_hits=round(sums.cached * scale),
        expected=Nanos(round(sums.expected * scale) + scoring.expected),
        worst=Nanos(sums.worst + scoring.worst),
        unpriced=(*(name for name, info in models.items() if info.price is None), *scoring.unpriced),
        unbounded=scoring.unbounded or any(info.price is None and not info.nearby for info in models.values()),
        plan=planned.record.plan,
        low=Nanos(round(sums.low * scale) + scoring.expected),
        duration_ns=round(_seconds(sums, planned, pace) * 1e9),
        sealed_rows=planned.sealed_rows,
    )


async def likely(caller: Caller, workspace: Workspace, planned: Planned, blocked: Collection[str]) -> Nanos:
    """Guess what all questions would cost from a few of them, for a start that cannot wait for a forecast."""
    total = planned.record.plan.verdicts
    every = max(1, total // _FEW)
    found = [
        await caller.estimate(call_of(planned.record, question, workspace, RunId("plan"), number))
        for number, question in enumerate(questions(planned.record, planned.items))
        if not number % every and question.criterion not in blocked
    ]
    asked = sum(
        expected(each, planned.items) for each in planned.record.criteria if each.judge and each.name not in blocked
    )
    return Nanos(round(sum(each.expected or 0 for each in found) / len(found) * asked)) if found else Nanos(0)


async def _summed(caller: Caller, workspace: Workspace, planned: Planned, blocked: Collection[str]) -> _Sums:
    run_id = RunId("plan")
    total = planned.record.plan.verdicts
    every = max(1, total // SAMPLE)
    calls = looked = cached = low = expected = most = 0
    asked: Counter[ModelName] = Counter()
    for number, question in enumerate(questions(planned.record, planned.items), start=1):
        if question.criterion in blocked:
            continue
        if not calls % _AT_ONCE:
            await asyncio.sleep(0)
        call = call_of(planned.record, question, workspace, run_id, number)
        most += worst(call, planned.models[question.model])
        asked[question.model] += 1
        if not calls % every:
            found = await caller.estimate(call)
            looked += 1
            cached += found.cached
            expected += found.expected or 0
            low += 0 if found.cached else _low(call, planned.models[question.model])
        calls += 1
    return _Sums(calls=calls, looked=looked, cached=cached, low=low, expected=expected, worst=most, asked=dict(asked))


def worst(call: CallSpec, info: ModelInfo) -> int:
    """Bound what a question and its repair cost, in nanos."""
    if info.price is None:
        return 0
    size, limit = Worst(call.messages, call.parameters).input_tokens, call.parameters.max_tokens or 0
    again = size + _repair_bytes()
    return 2 * cost(limit, info.price.output) + cost(size, info.price.input) + cost(again, info.price.input)


@cache
def _repair_bytes() -> int:
    """Return how much longer than the question its repair can be: the answer that is shown again, and the complaint."""
    longest = prompts.repair((), _WIDEST * _LONG_ANSWER, _WIDEST * _COMPLAINT)
    return Worst(longest, Parameters()).input_tokens


def _low(call: CallSpec, info: ModelInfo) -> int:
    if info.price is None:
        return 0
    likely = Worst(call.messages, call.parameters).likely_input
    return cost(likely, info.price.input) + cost(SHORT_VERDICT, info.price.output)


def _seconds(sums: _Sums, planned: Planned, pace: Pace) -> float:
    """Return calls / concurrency x typical latency; a model that is asked fewer at once takes longer."""
    concurrency = planned.record.spec.concurrency
    fresh = 1 - sums.cached / sums.looked if sums.looked else 0.0
    whole = 0.0
    longest = 0.0
    for model, calls in sums.asked.items():
        work = calls * fresh * pace.seconds(model)
        whole += work / concurrency
        longest = max(longest, work / min(concurrency, at_once(planned.models[model]) or concurrency))
    return max(whole, longest)
