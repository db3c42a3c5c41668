"""One case of one trial: asked, scored and judged, with an outcome whatever happens.

A case has the score that a judgement would give it: the weighted mean of the criteria that count, each over all that
its scorer or its judges said. A failed answer has the outcome of its call and is judged by nobody; a case for which
some criterion has no score has that one's outcome. Nothing makes a score of a failure.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from whet_server.errors import Reason
from whet_server.judge import asking
from whet_server.judge.pace import at_once
from whet_server.judge.spec import Asked
from whet_server.judge.sums import Folded
from whet_server.judging import Item, Outcome, Verdict, outcome_of
from whet_server.llm.base import CallSpec
from whet_server.llm.taxonomy import failure
from whet_server.score.scorers import Scorers
from whet_server.sweep.means import Answered, Means
from whet_server.sweep.target import Target
from whet_server.sweeping import Configuration, TrialCase
from whet_server.values import CallId, Failure

TRIAL: Final = "t"
HOLDOUT: Final = "h"
_MARK_DIGITS: Final = 16


class Evaluator:
    """Evaluates cases. `items` in the order of the record: their places are in the ids of calls, after `mark`."""

    def __init__(
        self,
        means: Means,
        target: Target | None,
        scorers: Scorers,
        criteria: Sequence[Asked],
        items: Sequence[Item],
        *,
        mark: str = TRIAL,
    ) -> None:
        """`target` is None where an outside program answers."""
        self._means = means
        self._target = target
        self._scorers = scorers
        self._criteria = tuple(criteria)
        self._places = {item.item_id: place for place, item in enumerate(items, start=1)}
        self._mark = mark

    def ident(self, number: int, item: Item, sample: int) -> CallId:
        """Return what the ids of all calls for one answer begin with. Cases that a program names have no place."""
        place = self._places.get(item.item_id) or hashlib.sha256(item.item_id.encode()).hexdigest()[:_MARK_DIGITS]
        return CallId(f"{self._means.run_id}/{self._mark}{number}-{place}-{sample}")

    async def case(
        self,
        number: int,
        configuration: Configuration,
        texts: Mapping[str, str],
        item: Item,
        sample: int,
        stop: asyncio.Event,
    ) -> TrialCase:
        """Ask a case under a trial's configuration and score the answer. Raises nothing for what models, scorers or
        judges do; what a cap refuses is UNAFFORDABLE, and its failure's metadata name the `cap`.
        """
        if self._target is None:
            raise TypeError("an outside program answers the cases of this sweep")
        ident = self.ident(number, item, sample)
        answered = await self._target.answer(configuration, texts, item, ident, sample=sample, stop=stop)
        return await self.scored(number, item, answered, sample, stop)

    async def scored(self, number: int, item: Item, answered: Answered, sample: int, stop: asyncio.Event) -> TrialCase:
        """Score an answer that is there already."""
        case = TrialCase(
            case_id=item.item_id,
            outcome=Outcome.FAILED,
            sample=sample,
            output=answered.output,
            stages=answered.stages,
            totals=answered.totals,
            cost=answered.cost,
            latency_ns=answered.latency_ns,
            cached=answered.cached,
            simulated=answered.simulated,
        )
        if answered.failure is not None:
            return replace(case, outcome=outcome_of(answered.failure.reason), failure=answered.failure)
        judged = replace(
            item,
            candidates=(answered.output,),
            writers=answered.models[-1:],
            latency_ns=answered.latency_ns,
            cost=answered.cost,
        )
        verdicts = await self._verdicts(judged, self.ident(number, item, sample), stop)
        return self._with_verdicts(case, judged, verdicts)

    async def _verdicts(self, item: Item, ident: CallId, stop: asyncio.Event) -> list[Verdict]:
        """Return what scorers and judges say, always in the same order; judges are asked all at once."""
        questions = [
            question
            for asked in self._criteria
            if asked.judge is not None and asked.rubric is not None
            for question in asking.questions(item, asked.name, asked.judge, asked.rubric)
        ]
        async with asyncio.TaskGroup() as group:
            judges = [
                group.create_task(self._judge(question, CallId(f"{ident}/judge-{place}"), stop))
                for place, question in enumerate(questions, start=1)
            ]
            verdicts = [
                await self._scorers.score(
                    self._means.workspace,
                    self._means.run_id,
                    item,
                    asked.name,
                    asked.scorer,
                    run_cap=self._means.budget.money,
                    run_token_cap=self._means.budget.tokens,
                )
                for asked in self._criteria
                if asked.scorer is not None
            ]
        return verdicts + [judge.result() for judge in judges]

    async def _judge(self, question: asking.Question, call_id: CallId, stop: asyncio.Event) -> Verdict:
        info = await self._means.info(question.model)
        async with self._means.place(question.model, at_once(info)):
            return await asking.ask(self._means.caller, question, self._call(question, call_id), stop)

    def _call(self, question: asking.Question, call_id: CallId) -> CallSpec:
        means = self._means
        call = asking.call_of(
            question,
            means.workspace,
            means.run_id,
            call_id=call_id,
            limits=means.limits,
            cache_bypass=means.cache_bypass,
            cache_ttl=means.cache_ttl,
            run_cap=means.budget.money,
        )
        return replace(call, run_token_cap=means.budget.tokens)

    def _with_verdicts(self, case: TrialCase, item: Item, verdicts: Sequence[Verdict]) -> TrialCase:
        folded = Folded(self._criteria, (item,), verdicts)
        score = folded.combined.get(item.item_id)
        outcome, told = (Outcome.SCORED, None) if score is not None else _why_not(folded, item.item_id)
        return replace(
            case,
            outcome=outcome,
            score=score,
            failure=told,
            verdicts=tuple(verdicts),
            totals=sum((verdict.totals for verdict in verdicts), case.totals),
            simulated=case.simulated or any(verdict.simulated for verdict in verdicts),
        )


def _why_not(folded: Folded, item_id: str) -> tuple[Outcome, Failure | None]:
    """Return how the first criterion that counts and has no score ended."""
    for asked in folded.criteria:
        if not asked.aside and item_id not in folded.scores[asked.name]:
            for verdict in folded.of[asked.name].get(item_id, ()):
                if verdict.outcome is not Outcome.SCORED:
                    return verdict.outcome, verdict.failure
    return Outcome.FAILED, failure(Reason.NOT_APPLICABLE, "No criterion that counts was asked of this answer.")
