"""One running judgement: a bounded number of questions to judges at once, scorers beside them, each verdict on the
record as soon as it is there.

A question that a cap refuses while others are under way waits until one of them has ended: they hold the worst that
they can cost, and most of it comes back. A refusal while nothing is under way is final, and so is every further one
until something has been paid again. A model that may be asked only so many at once is asked by no more calls than that.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from whet_server.errors import Reason, WhetError
from whet_server.judge import asking
from whet_server.judge.pace import Pace, at_once
from whet_server.judge.plan import call_of, left_out, questions
from whet_server.judge.progress import Progress
from whet_server.judge.spec import JudgementRecord, Sums
from whet_server.judge.sums import Folded, Seen, counts
from whet_server.judging import Item, Outcome, Verdict
from whet_server.llm.base import Caller
from whet_server.log.events import DurablePayload, JudgementSummed, RunFinished, VerdictsReached
from whet_server.log.log import RunWriter
from whet_server.score.scorers import Scorers
from whet_server.values import Failure, ModelName, Nanos, RunId, RunState, Totals, Workspace

SCORING_AT_ONCE: Final = 64
"""Items being scored at once: what waits is users' own scorers and embeddings, which have limits of their own."""
CANCELLED = Failure(reason=Reason.CANCELLED, message="Cancelled as asked.")
_ANSWERED: Final = frozenset({Outcome.SCORED, Outcome.ABSTAINED})
"""How a question ends that was answered."""

Conclude = Callable[[JudgementRecord, Sequence[Verdict]], Awaitable[Sequence[DurablePayload]]]
"""Says what else is recorded when all verdicts are in."""


class History(NamedTuple):
    """What is settled of a run before it goes on: verdicts on the record, whether they were summed, and what the
    ledger holds of questions that are asked again.
    """

    verdicts: tuple[Verdict, ...] = ()
    summed: bool = False
    spent: Mapping[asking.Key, Totals] = {}


class Tools(NamedTuple):
    """What runs work with. `sum_up` folds verdicts to sums, given how many of each criterion will never come; `keep`
    gets what a run came to just before it ends; `pace` learns how long verdicts take.
    """

    caller: Caller
    scorers: Scorers
    clock: Callable[[], int]
    sum_up: Callable[[Workspace, JudgementRecord, Folded, Mapping[str, int]], Awaitable[Sums]]
    keep: Callable[[RunId, Seen], None]
    pace: Pace
    conclude: Conclude | None = None


class JudgementRun:
    """A judgement under way. `blocked` has the judges' criteria that must not be asked, each with the reason."""

    def __init__(
        self,
        tools: Tools,
        writer: RunWriter,
        record: JudgementRecord,
        items: Sequence[Item],
        *,
        blocked: Mapping[str, Failure],
        likely: Nanos = Nanos(0),
        history: History = History(),
    ) -> None:
        self.record = record
        self.items = items
        self.verdicts = list(history.verdicts)
        """What is in, also what is on its way to the disk."""
        self._tools = tools
        self._writer = writer
        self._blocked = blocked
        self._history = history
        self._known = frozenset(map(asking.key, history.verdicts))
        self._stop = asyncio.Event()
        self._scoring: set[asyncio.Task[list[Verdict]]] = set()
        """Items being scored: a user's scorer may take its time, and a cancelled run does not wait for it."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._places: dict[ModelName, asyncio.Semaphore] = {}
        self._broke = False
        """A cap has refused a question while nothing was under way."""
        self.progress = Progress(record.plan.verdicts, likely=likely, tell=writer.emit)
        for verdict in history.verdicts:
            self.progress.keep(verdict)
        writer.snapshot = lambda: (self.progress.now(),)

    async def drive(self) -> None:
        """Carry the judgement to its end. Cancelling the task cuts every call off and leaves the run as it is, to be
        taken up again.
        """
        asked = self._questions()
        scored = self._unscored()
        left = self.record.plan.verdicts - len(self.verdicts)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(SCORING_AT_ONCE, left)):
                    group.create_task(self._score(scored))
                for _ in range(min(self.record.spec.concurrency, left)):
                    group.create_task(self._judge(asked))
        finally:
            self.progress.close()
        await self._end()

    def cancel(self) -> None:
        """Cut off what is under way and ask nothing more."""
        self._stop.set()
        self._wake(all_of_them=True)
        for scoring in self._scoring:
            scoring.cancel()

    def folded(self) -> Folded:
        """Return what is in."""
        return Folded(self.record.criteria, self.items, self.verdicts)

    async def close(self, failure: Failure) -> None:
        """Close the run as FAILED, because it cannot be carried on."""
        self.progress.close()
        await self._finish(RunState.FAILED, failure)

    def _questions(self) -> Iterator[tuple[int, asking.Question]]:
        """Yield the questions that have no verdict yet, with their numbers."""
        for number, question in enumerate(questions(self.record, self.items), start=1):
            if not self._known or asking.key(question) not in self._known:
                yield number, question

    def _unscored(self) -> Iterator[Item]:
        """Yield the items that scorers have not seen. The verdicts of an item's scorers are recorded together."""
        first = next((asked.name for asked in self.record.criteria if asked.scorer is not None), None)
        if first is None:
            return
        seen = {verdict.item_id for verdict in self._history.verdicts if verdict.criterion == first}
        for item in self.items:
            if item.item_id not in seen:
                yield item

    async def _score(self, items: Iterator[Item]) -> None:
        durable = None
        for item in items:
            if self._stop.is_set():
                break
            scoring = asyncio.create_task(self._scored(item))
            self._scoring.add(scoring)
            try:
                await asyncio.wait([scoring])
            finally:
                self._scoring.discard(scoring)
                scoring.cancel()
            if scoring.cancelled():
                break
            durable = await self._land(durable, *scoring.result())
        if durable is not None:
            await durable

    async def _scored(self, item: Item) -> list[Verdict]:
        run, cap = self._writer.run, self.record.spec.cap
        return [
            await self._tools.scorers.score(run.workspace, run.run_id, item, asked.name, asked.scorer, run_cap=cap)
            for asked in self.record.criteria
            if asked.scorer is not None
        ]

    async def _judge(self, asked: Iterator[tuple[int, asking.Question]]) -> None:
        durable = None
        for number, question in asked:
            if self._stop.is_set():
                break
            if question.criterion in self._blocked:
                blocked = self._blocked[question.criterion]
                verdict: Verdict | None = asking.unanswered(question, Outcome.UNCALIBRATED, blocked)
            else:
                verdict = await self._ask(number, question)
            if verdict is not None:
                durable = await self._land(durable, verdict)
        self._wake()
        if durable is not None:
            await durable

    async def _ask(self, number: int, question: asking.Question) -> Verdict | None:
        """Return the verdict; None for a question that waited for money when the run was cancelled."""
        run = self._writer.run
        call = call_of(self.record, question, run.workspace, run.run_id, number)
        while not self._stop.is_set():
            async with await self._place(question.model):
                if self._stop.is_set():
                    return None
                self.progress.in_flight += 1
                try:
                    verdict = await asking.ask(self._tools.caller, question, call, self._stop)
                finally:
                    self.progress.in_flight -= 1
            self._tools.pace.took(verdict)
            if not _was_refused_money(verdict):
                self._broke = False
                self._wake()
                return self._with_spent(question, verdict)
            if self._broke or not self.progress.in_flight:
                self._broke = True
                self._wake(all_of_them=True)
                return self._with_spent(question, verdict)
            if not self._stop.is_set():
                place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(place)
                await place
        return None

    async def _place(self, model: ModelName) -> asyncio.Semaphore:
        """Return what holds the places of a model."""
        if model not in self._places:
            try:
                most = at_once(await self._tools.caller.resolve(self._writer.run.workspace, model))
            except WhetError:  # it is gone, as every call will say
                most = 0
            self._places.setdefault(model, asyncio.Semaphore(most or self.record.spec.concurrency))
        return self._places[model]

    def _wake(self, *, all_of_them: bool = False) -> None:
        """Let one question that waits for money try again, or all."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                if not all_of_them:
                    return

    def _with_spent(self, question: asking.Question, verdict: Verdict) -> Verdict:
        spent = self._history.spent.get(asking.key(question)) if self._history.spent else None
        return verdict if spent is None else replace(verdict, totals=spent + verdict.totals)

    async def _land(self, before: asyncio.Future[None] | None, *verdicts: Verdict) -> asyncio.Future[None]:
        """Take verdicts in and return what is done when they are durable. The next question is asked meanwhile: only
        when it is answered too is there reason to wait for `before`.
        """
        self.verdicts += verdicts
        for verdict in verdicts:
            self.progress.take(verdict)
        durable = self._writer.post(VerdictsReached(verdicts=verdicts))
        if before is not None:
            await before
        return durable

    async def _end(self) -> None:
        """Record the sums and what else is concluded, in the transaction of the end if the disk lets it."""
        durable = sums = None
        folded = self.folded()
        if not self._history.summed:
            sums = await self._tools.sum_up(self._writer.run.workspace, self.record, folded, left_out(folded))
            payloads: list[DurablePayload] = [JudgementSummed(criteria=sums.criteria, combined=sums.combined)]
            if self._tools.conclude is not None:
                payloads += await self._tools.conclude(self.record, self.verdicts)
            durable = self._writer.post(*payloads)
        state, failure = self._outcome()
        if sums is not None:
            self._tools.keep(self._writer.run.run_id, Seen(self.record, folded, sums, failure))
        await self._finish(state, failure)
        if durable is not None:
            await durable

    async def _finish(self, state: RunState, failure: Failure | None) -> None:
        await self._writer.finish(
            RunFinished(
                state=state,
                failure=failure,
                totals=self.progress.totals,
                latency_ns=max(0, self._tools.clock() - self._writer.run.create_ns),
            )
        )

    def _outcome(self) -> tuple[RunState, Failure | None]:
        """Decide how the run ended, as `Judgement.state` in the contract says."""
        if len(self.verdicts) < self.record.plan.verdicts or any(
            verdict.failure is not None and verdict.outcome is Outcome.CANCELLED for verdict in self.verdicts
        ):
            return RunState.CANCELLED, CANCELLED
        short = [verdict for verdict in self.verdicts if verdict.outcome not in _ANSWERED]
        if not any(verdict.outcome is Outcome.SCORED for verdict in self.verdicts):
            return RunState.FAILED, _short(short or self.verdicts, len(self.verdicts))
        if short:
            return RunState.PARTIAL, _short(short, len(self.verdicts))
        return RunState.SUCCEEDED, None


def _was_refused_money(verdict: Verdict) -> bool:
    """Whether a cap stood in the way before anything was paid, so that asking again later costs nothing twice."""
    return (
        verdict.outcome is Outcome.UNAFFORDABLE
        and verdict.failure is not None
        and Reason.CAP_EXCEEDED in {verdict.failure.reason, verdict.failure.metadata.get("cause")}
        and not verdict.totals.settled
        and not verdict.totals.unknown
    )


def _short(short: Sequence[Verdict], of: int) -> Failure:
    """Return why a run did not succeed: how many verdicts are no scores, by outcome, and the first one's reason."""
    outcomes = ", ".join(f"{count.count} {count.outcome.value.replace('_', ' ')}" for count in counts(short))
    first = next((verdict.failure for verdict in short if verdict.failure is not None), None)
    if first is None:
        return Failure(reason=Reason.NO_VERDICT, message=f"{len(short)} of {of} verdicts have no score: {outcomes}.")
    return Failure(
        reason=first.reason,
        message=f"{len(short)} of {of} verdicts have no score: {outcomes}. The first one said: {first.message}",
        metadata={count.outcome.value: str(count.count) for count in counts(short)},
        transient=first.transient,
        retry_after_ns=first.retry_after_ns,
    )
