"""One question to one judge, and the one verdict that comes of it, whatever the judge does.

The answer has to be JSON by a schema made from the rubric. Endpoints that enforce schemas keep to it; what others
answer is read tolerantly. An answer that is no verdict is sent back once, with what is wrong. Only a whole answer that
is a verdict in every part has a score; all else ends in an outcome that says what happened.
"""

import asyncio
from collections.abc import Mapping
from itertools import combinations, product
from typing import Final

from msgspec import structs

from whet_server.errors import Reason
from whet_server.judge import prompts
from whet_server.judge.reading import Reading, Wrong, declined, read
from whet_server.judge.rubric import Rubric
from whet_server.judging import Item, Judge, JudgeIdentity, JudgeMode, Outcome, Verdict, outcome_of
from whet_server.llm.base import Caller, CallResult, CallSpec, Unheard
from whet_server.llm.taxonomy import failure
from whet_server.log.lifecycle import BranchState
from whet_server.values import (
    CallId,
    CallLimits,
    Failure,
    ModelName,
    Nanos,
    Parameters,
    RunId,
    Totals,
    Value,
    Workspace,
)

REPAIR: Final = "-repair"
"""What the id of a call that repairs ends with."""
MOST_ROTATIONS: Final = 4
"""Orders in which a list is shown: enough for every answer to stand near each end, where a turn for each of twenty
would cost twenty long calls.
"""
_TOKENS_EACH: Final = 150
"""Tokens of a dimension or a ranked answer in a verdict: a quote and a sentence, and as much again."""
_TOKENS_WHOLE: Final = 200
"""Tokens of what stands around them, the summary above all."""
_CUT_OFF: Final = "length"
_LOCAL: Final = "local/"
CANDIDATES: Final[Mapping[JudgeMode, tuple[int, int]]] = {
    JudgeMode.POINTWISE: (1, 1),
    JudgeMode.PAIRWISE: (2, 100),
    JudgeMode.LISTWISE: (3, 100),
}
"""How many candidates a judge of a mode looks at, from and to."""

Key = tuple[str, str, ModelName, int, tuple[int, ...]]


class Question(Value):
    """What one judge is asked. `order`: the candidates' indexes as they are shown."""

    item: Item
    rubric: Rubric
    judge: Judge
    model: ModelName
    sample: int = 1
    order: tuple[int, ...] = (0,)
    criterion: str = ""


def parameters_of(judge: Judge) -> Parameters:
    """Return the judge's parameters: what it does not say is temperature 0 and the models' defaults. The schema of its
    answers is the rubric's, whatever it says.
    """
    return structs.replace(judge.parameters.over(Parameters(temperature=0.0)), json_schema="")


def identity(judge: Judge, rubric: Rubric) -> JudgeIdentity:
    """Return what a calibration of this judge is bound to."""
    return JudgeIdentity(
        models=judge.models,
        mode=judge.mode,
        parameters=parameters_of(judge),
        rubric=rubric.name,
        rubric_digest=rubric.digest,
        prompt_digest=prompts.digest(judge.mode),
    )


def questions(item: Item, criterion: str, judge: Judge, rubric: Rubric) -> tuple[Question, ...]:
    """Return everything that a judge is asked of an item: every model, every sample, every order. Nothing of an item
    that does not have as many candidates as the judge looks at.
    """
    count = len(item.candidates)
    least, most = CANDIDATES[judge.mode]
    if not least <= count <= most:
        return ()
    rounds = product(judge.models, range(1, max(1, judge.samples) + 1), orders(judge.mode, count))
    return tuple(
        Question(item=item, rubric=rubric, judge=judge, model=model, sample=sample, order=order, criterion=criterion)
        for model, sample, order in rounds
    )


def orders(mode: JudgeMode, count: int) -> tuple[tuple[int, ...], ...]:
    """Return the orders in which `count` candidates are shown: the first alone, every pair both ways, or the list from
    up to `MOST_ROTATIONS` beginnings that lie evenly apart.
    """
    if mode is JudgeMode.POINTWISE:
        return ((0,),)
    if mode is JudgeMode.PAIRWISE:
        return tuple(order for one, two in combinations(range(count), 2) for order in ((one, two), (two, one)))
    turns = min(count, MOST_ROTATIONS)
    starts = [turn * count // turns for turn in range(turns)]
    return tuple((*range(start, count), *range(start)) for start in starts)


def key(of: Question | Verdict) -> Key:
    """Return which question a verdict answers. A pointwise verdict names no order."""
    if isinstance(of, Verdict):
        return of.item_id, of.criterion, of.judge, of.sample, of.order
    return of.item.item_id, of.criterion, of.model, of.sample, _shown_order(of)


def call_of(
    question: Question,
    workspace: Workspace,
    run_id: RunId,
    *,
    call_id: CallId = CallId(""),
    limits: CallLimits = CallLimits(),
    cache_bypass: bool = False,
    cache_ttl: float | None = None,
    run_cap: Nanos | None = None,
) -> CallSpec:
    """Return the first call of a question."""
    judge, rubric, order = question.judge, question.rubric, question.order
    parts = len(order) if judge.mode is JudgeMode.LISTWISE else len(rubric.dimensions)
    # The local model makes its quotes up; its grammar, which no cache of a provider has to learn anew, can forbid that.
    shown = tuple(question.item.candidates[index] for index in order)
    quotable = shown if question.model.startswith(_LOCAL) else ()
    own = Parameters(
        json_schema=prompts.schema(rubric, judge.mode, len(order), quotable),
        max_tokens=_TOKENS_WHOLE + _TOKENS_EACH * parts,
    )
    return CallSpec(
        workspace=workspace,
        run_id=run_id,
        call_id=call_id,
        models=(question.model,),
        messages=prompts.messages(question.item, rubric, judge.mode, order),
        parameters=parameters_of(judge).over(own),
        limits=limits,
        sample=question.sample,
        cache_bypass=cache_bypass,
        cache_ttl=cache_ttl,
        run_cap=run_cap,
    )


async def ask(caller: Caller, question: Question, call: CallSpec, stop: asyncio.Event) -> Verdict:
    """Ask, repair once if that may help, and return how it ended. Raises nothing for what a judge does. Cancelling the
    task ends the call as `llm` does and raises CancelledError.
    """
    first = await caller.call(call, Unheard(), stop)
    told = _told(first, question)
    if not isinstance(told, Wrong):
        return _verdict(question, told, (first,))
    again = structs.replace(
        call,
        call_id=CallId(call.call_id + REPAIR),
        messages=prompts.repair(call.messages, first.text, str(told)),
    )
    second = await caller.call(again, Unheard(), stop)
    return _verdict(question, _told(second, question), (first, second))


def unanswered(question: Question, outcome: Outcome, told: Failure, totals: Totals = Totals()) -> Verdict:
    """Return the verdict of a question that is not asked, or not any more."""
    item_id, criterion, judge, sample, order = key(question)
    return Verdict(
        item_id=item_id,
        criterion=criterion,
        outcome=outcome,
        judge=judge,
        sample=sample,
        order=order,
        failure=told,
        totals=totals,
    )


class _Ended(Value):
    """A question that ended without a score."""

    outcome: Outcome
    failure: Failure
    reading: Reading | None = None


def _told(result: CallResult, question: Question) -> Reading | _Ended | Wrong:
    """Return what an answer comes to. `Wrong`: it is no verdict, and asking again may help."""
    if result.state is not BranchState.DONE:
        told = result.failure or failure(Reason.INTERNAL, "The call ended without an answer and without a reason.")
        reason = told.metadata.get("cause", told.reason)
        return _Ended(outcome=outcome_of(reason), failure=told)
    if result.finish_reason == _CUT_OFF:
        return Wrong("it was cut off at its limit of tokens. Be shorter: a short quote and a short reason each.")
    if declined(result.text):
        said = f"The judge declined: {' '.join(result.text.split())[:200]}"
        return _Ended(outcome=Outcome.REFUSED, failure=failure(Reason.JUDGE_DECLINED, said))
    try:
        reading = read(result.text, question.item, question.rubric, question.judge.mode, question.order)
    except Wrong as wrong:
        return wrong
    if reading.score is None:
        said = f"The judge abstained: {reading.summary or 'it gave no reason'}"
        return _Ended(outcome=Outcome.ABSTAINED, failure=failure(Reason.JUDGE_DECLINED, said), reading=reading)
    return reading


def _verdict(question: Question, told: Reading | _Ended | Wrong, results: tuple[CallResult, ...]) -> Verdict:
    """Return the verdict, with the sums of all calls."""
    last = results[-1]
    if isinstance(told, Wrong):
        what = f"The answer of {last.model} is no verdict, also after one repair: {told}"
        told = _Ended(outcome=Outcome.UNPARSEABLE, failure=failure(told.reason, what))
    reading = told if isinstance(told, Reading) else told.reading or Reading(score=None)
    totals = results[0].totals
    for result in results[1:]:
        totals += result.totals
    return Verdict(
        item_id=question.item.item_id,
        criterion=question.criterion,
        outcome=told.outcome if isinstance(told, _Ended) else Outcome.SCORED,
        score=reading.score,
        value=reading.value,
        judge=question.model,
        sample=question.sample,
        dimensions=reading.dimensions,
        rationale=reading.summary,
        order=_shown_order(question),
        ranking=reading.ranking,
        tie=reading.tie,
        repaired=len(results) > 1 and not isinstance(told, _Ended),
        cached=all(result.cached for result in results),
        simulated=any(result.simulated for result in results),
        degraded=any(result.model != question.model for result in results),
        failure=told.failure if isinstance(told, _Ended) else None,
        totals=totals,
        latency_ns=sum(result.latency_ns for result in results),
        model=last.model,
    )


def _shown_order(question: Question) -> tuple[int, ...]:
    return () if question.judge.mode is JudgeMode.POINTWISE else question.order
