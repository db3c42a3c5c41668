"""Trials that outside programs run: asked for under a lease, told case by case or all at once.

A trial begins when somebody asks for one; which configuration it has depends on its number and on the trials that have
ended, as in every sweep. What was told is durable before the answer, so a program that is told nothing tells it again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from whet_server.errors import Draining, InvalidField, Reason, WrongState
from whet_server.judging import Item, Outcome
from whet_server.log.run_writer import RunWriter
from whet_server.store.base import Document, Store, Write, every_document
from whet_server.sweep.crew import Question
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.leaderboard import trial_of
from whet_server.sweep.means import Answered
from whet_server.sweep.resolved import stands_for
from whet_server.sweep.run import SweepRun, Tools
from whet_server.sweep.views import under_way
from whet_server.sweeping import BASELINE, Choice, SweepEnd, SweepPhase, Trial, TrialCase, TrialState
from whet_server.values import NANOSECONDS, Failure, Nanos, Run, RunId, RunState, Value, Workspace

RETRY_SECONDS: Final = 1.0
"""When to ask again: others tell their results meanwhile, or a lease runs out."""
_CLOSED: Final = "outside_closed_trials"

Record = Callable[[Sequence[int]], Sequence[Write]]
"""Makes what keeps the answer to a request id: the numbers of the trials that were given."""


class ToldCase(Value):
    """One case as an outside program measured it. `score` None: the sweep's scorers and judges score `output`."""

    case_id: str
    sample: int = 1
    score: float | None = None
    output: str = ""
    failure: str = ""
    cost: Nanos | None = None
    latency_ns: int | None = None


class Given(Value):
    """A trial as it is given to a program. `cases` are in the sweep's order."""

    number: int
    trial: Trial
    texts: tuple[Choice, ...]
    lease_expire_ns: int
    cases: tuple[Item, ...]
    told_case_ids: tuple[str, ...]


class Asked(Value):
    """What an ask comes to. `ended`: the sweep gives no more trials. `retry_after`: seconds, where that helps."""

    trials: tuple[Given, ...] = ()
    ended: bool = False
    retry_after: float | None = None


class _Closed(Value):
    """A program has said that it tells nothing more of a trial, or why the whole trial failed."""

    failure: str = ""


class OutsideRun(SweepRun):
    """A sweep whose trials outside programs run."""

    def __init__(
        self,
        tools: Tools,
        writer: RunWriter,
        fold: SweepFold,
        items: Sequence[Item],
        *,
        closed: Mapping[int, _Closed] | None = None,
    ) -> None:
        """`closed` are trials of which nothing more is told, as `closed_trials` finds them after a crash."""
        super().__init__(tools, writer, fold, items)
        outside = self.record.spec.outside
        self._lease_ns = round((outside.lease if outside is not None else 0.0) * NANOSECONDS)
        self._leases: dict[int, int] = {}
        """When another client may get a trial; of one that was given before a crash: a lease after it began."""
        self._closed = dict(closed or {})
        self._told: dict[tuple[int, str, int], ToldCase] = {}
        """What waits to be scored."""
        self._waits: dict[int, Callable[[], bool]] = {}
        """What the way of a trial waits for, where that is a program."""
        self._asking = asyncio.Lock()
        self._open = False
        self._exhausted = False

    async def drive(self) -> None:
        try:
            await super().drive()
        finally:
            self._news.set()

    async def ask(self, count: int, worker: str, record: Record) -> Asked:
        """Give trials: those that nobody has any more, then new ones, as far as they can be suggested now. Durable,
        with what `record` makes of their numbers, when this returns.
        """
        await self._until(lambda: self._open or self._over)
        given: list[TrialFold] = []
        async with self._asking:
            if not self.fold.paused and self._end is None:
                given = self._free()[:count]
                begun = await self._begun(given, count, worker, record)
                for trial in given:
                    self._renew(trial.number)
            if given and not begun:
                await self._writer.append(also=record([trial.number for trial in given]))
        await self._journal.settled()
        return Asked(
            trials=tuple(self.given(trial) for trial in given),
            ended=self.ended,
            retry_after=None if given or self.ended else RETRY_SECONDS,
        )

    @property
    def ended(self) -> bool:
        """Whether it gives no more trials."""
        return self._end is not None or self._over

    def given(self, trial: TrialFold) -> Given:
        """Return a trial as programs get it."""
        return given_of(self.fold, trial, self.items, self._expires(trial))

    async def tell(
        self, number: int, told: Sequence[ToldCase], *, finished: bool = False, failure: str = ""
    ) -> tuple[Trial, bool]:
        """Take results of a trial; return it as it stands, and whether to stop it. Durable when this returns. Raises
        `TrialNotFound`, `InvalidField`, and `WrongState` for answers that cannot be scored now.
        """
        await self._until(lambda: self._open or self._over)
        trial = trial_of(self.fold, number, self._writer.run.run_id)
        self._check(told)
        if self._takes(trial):
            self._renew(number)
            await self._take(trial, told)
            if failure or (finished and not self.items):
                await self._close(trial, failure)
            elif finished:
                await self._leave_out(trial)
        await self._digested(trial)
        await self._journal.settled()
        return trial.end or under_way(self.fold, trial), self._end is not None or stopped(trial)

    # -- trials ----------------------------------------------------------------------------------------------------

    async def _try_all(self) -> bool:
        """Wait: trials begin when somebody asks for them."""
        self._open = True
        self._tell()
        await self._until(
            lambda: self._end is not None or self._is_through() or (self._exhausted and not self._running)
        )
        return self._exhausted

    async def _begun(self, given: list[TrialFold], count: int, worker: str, record: Record) -> bool:
        """Begin trials as long as there is room, and add them to those that are given; return whether any began."""
        began = False
        while len(given) < count and self._end is None and not self._exhausted and self._has_room():
            numbers = [*(trial.number for trial in given), len(self.fold.trials)]
            trial = await self._next(worker, also=record(numbers))
            if trial is None:
                self._exhausted = True
                self._tell()
                break
            given.append(trial)
            began = True
        return began

    def _free(self) -> list[TrialFold]:
        now = self._tools.clock()
        running = [self.fold.trials[number] for number in sorted(self._running)]
        return [trial for trial in running if self._takes(trial) and self._lacks(trial) and self._expires(trial) <= now]

    def _takes(self, trial: TrialFold) -> bool:
        return trial.end is None and trial.number not in self._closed and self._end is None and not self._over

    def _lacks(self, trial: TrialFold) -> bool:
        """Whether there is something to tell of a trial."""
        return not self.items or not self._has_all(trial, len(self.items))

    def _has_all(self, trial: TrialFold, rung: int) -> bool:
        return len(trial.answers) >= rung and all((case_id, 1) in trial.answers for case_id in self._order[:rung])

    def _expires(self, trial: TrialFold) -> int:
        return self._leases.get(trial.number, trial.start_ns + self._lease_ns)

    def _renew(self, number: int) -> None:
        self._leases[number] = self._tools.clock() + self._lease_ns

    async def _answer(self, trial: TrialFold, rung: int) -> None:
        """Wait until the program has told the cases up to the rung, or that it will not."""

        def is_there() -> bool:
            told = bool(self.items) and self._has_all(trial, rung)
            return told or trial.number in self._closed or self._end is not None

        self._waits[trial.number] = is_there
        self._tell()
        await self._until(is_there)
        del self._waits[trial.number]

    async def _end_trial(self, trial: TrialFold, state: TrialState, reason: str) -> None:
        if not self.items and trial.number not in self._closed:
            state = TrialState.CANCELLED
        await super()._end_trial(trial, state, reason)

    def _failure_of(self, trial: TrialFold) -> Failure | None:
        closed = self._closed.get(trial.number)
        return _failed(closed.failure) if closed is not None and closed.failure else None

    async def _replicate(self, end: SweepEnd) -> SweepEnd:
        """Ask nothing again: a program answers cases as often as it wants to."""
        return end

    def _shown_phase(self) -> SweepPhase:
        """While nothing is scored, the program is awaited."""
        phase = super()._shown_phase()
        scoring = self._crew is not None and self._crew.in_flight
        return SweepPhase.WAITING if phase is SweepPhase.SEARCH and not scoring and not self.ended else phase

    # -- results ---------------------------------------------------------------------------------------------------

    def _check(self, told: Sequence[ToldCase]) -> None:
        """Raise `InvalidField` for cases that are none of the sweep, and for what cannot be scored."""
        wrong = []
        for at, each in enumerate(told):
            if self.items and each.case_id not in self._place_of:
                wrong.append((f"cases[{at}].case_id", f"the sweep has no case {each.case_id[:100]!r}"))
            if each.failure and each.score is not None:
                wrong.append((f"cases[{at}].failure", "a case that failed has no score: tell one of both"))
            if _is_unscored(each) and not self.record.criteria:
                wrong.append((f"cases[{at}].score", "nothing scores answers in this sweep: tell a score"))
        if wrong:
            raise InvalidField(*wrong)

    async def _take(self, trial: TrialFold, told: Sequence[ToldCase]) -> None:
        """Land what is new. What has no score is scored by the sweep's scorers and judges."""
        fresh = {
            (trial.number, each.case_id, each.sample): each
            for each in told
            if (each.case_id, each.sample) not in trial.answers
        }
        unscored = {key: each for key, each in fresh.items() if _is_unscored(each)}
        if unscored and self.fold.paused:
            raise _paused(self._writer.run.run_id)
        for key, each in fresh.items():
            if key not in unscored and key not in self._told:
                await self._journal.land(trial.number, _case(each))
        if unscored:
            await self._score(unscored)
        self._telling.news()

    async def _score(self, unscored: Mapping[tuple[int, str, int], ToldCase]) -> None:
        """Have answers scored, those that another call has brought along included."""
        new = {key: each for key, each in unscored.items() if key not in self._told}
        self._told.update(new)
        scoring = asyncio.ensure_future(self._ask_all([self._question(*key) for key in new]))
        try:
            await self._until(
                lambda: not unscored.keys() & self._told.keys() or self.ended or self.fold.paused  # `_landed` tells
            )
        finally:
            scoring.cancel()
        if self._end is None and unscored.keys() & self._told.keys():
            if self._over:
                raise Draining("The server is about to stop. Tell the results again when it is back.", retry_after=1.0)
            raise _paused(self._writer.run.run_id)

    def _question(self, number: int, case_id: str, sample: int) -> Question:
        place = self._place_of[case_id] if self.items else 0
        item = self.items[place] if self.items else Item(item_id=case_id)
        return Question(number, place, item, sample)

    async def _ask(self, question: Question, stop: asyncio.Event) -> TrialCase:
        """Score what was told."""
        told = self._told[question.number, question.item.item_id, question.sample]
        answered = Answered(output=told.output, cost=told.cost, latency_ns=told.latency_ns or 0)
        case = await self._tools.answers.scored(question, answered, stop)
        return replace(case, latency_ns=told.latency_ns)

    async def _landed(self, question: Question, case: TrialCase) -> None:
        await super()._landed(question, case)
        self._told.pop((question.number, question.item.item_id, question.sample), None)
        self._news.set()

    async def _close(self, trial: TrialFold, failure: str) -> None:
        """Take note, durably, that nothing more is told of a trial."""
        closed = _Closed(failure=failure)
        run = self._writer.run
        key = _closed_key(run.run_id, trial.number)
        document = Document(workspace=run.workspace, collection=_CLOSED, key=key, data=msgspec.json.encode(closed))
        self._journal.flush()
        await self._writer.append(also=(document,))
        self._closed[trial.number] = closed
        self._tell()

    async def _leave_out(self, trial: TrialFold) -> None:
        """Count the cases that were not told as failures: nobody knows what they would have been."""
        why = _failed("The program ended the trial without this case.")
        for case_id in self._order:
            if (case_id, 1) not in trial.answers:
                await self._journal.land(trial.number, TrialCase(case_id=case_id, outcome=Outcome.FAILED, failure=why))

    async def _digested(self, trial: TrialFold) -> None:
        """Wait until what was told has had its effect: the trial waits for more, has ended, or waits for others."""
        self._tell()
        number = trial.number
        await self._until(
            lambda: (
                trial.end is not None
                or self._over
                or (number in self._waits and not self._waits[number]())
                or (number != BASELINE and not self._has_ended(BASELINE))
            )
        )


class Live(Protocol):
    """Where sweeps are found; `sweep.sweeps.Sweeps` documents it."""

    async def run(self, workspace: Workspace, run_id: RunId) -> Run: ...

    async def fold(self, workspace: Workspace, run_id: RunId) -> tuple[Run, SweepFold]: ...

    def live(self, run_id: RunId) -> SweepRun | None: ...


class OutsideTrials:
    """The door for outside programs."""

    def __init__(self, sweeps: Live) -> None:
        self._sweeps = sweeps

    async def ask(self, workspace: Workspace, run_id: RunId, count: int, worker: str, record: Record) -> Asked:
        """Give at most `count` trials. Raises `RunNotFound`, `InvalidField` for a sweep that runs its trials itself,
        and `WrongState` for one that is not under way here.
        """
        live = await self._live(workspace, run_id)
        return Asked(ended=True) if live is None else await live.ask(count, worker, record)

    async def again(self, workspace: Workspace, run_id: RunId, numbers: Sequence[int]) -> Asked:
        """Return trials that were given before, as they stand."""
        live = await self._live(workspace, run_id)
        if live is not None:
            trials = [live.given(live.fold.trials[number]) for number in numbers]
            return Asked(trials=tuple(trials), ended=live.ended)
        _, fold = await self._sweeps.fold(workspace, run_id)
        over = [given_of(fold, trial, (), trial.start_ns) for trial in map(fold.trials.__getitem__, numbers)]
        return Asked(trials=tuple(over), ended=True)

    async def tell(
        self,
        workspace: Workspace,
        run_id: RunId,
        number: int,
        told: Sequence[ToldCase],
        *,
        finished: bool = False,
        failure: str = "",
    ) -> tuple[Trial, bool]:
        """Take results of a trial; return it as it stands, and whether to stop it. Raises as `ask` and
        `OutsideRun.tell` do; what is told of a sweep that has ended is passed over.
        """
        live = await self._live(workspace, run_id)
        if live is not None:
            return await live.tell(number, told, finished=finished, failure=failure)
        _, fold = await self._sweeps.fold(workspace, run_id)
        trial = trial_of(fold, number, run_id)
        return trial.end or under_way(fold, trial), True

    async def _live(self, workspace: Workspace, run_id: RunId) -> OutsideRun | None:
        """Return a sweep under way; None for one that has ended."""
        run = await self._sweeps.run(workspace, run_id)
        live = self._sweeps.live(run_id)
        if isinstance(live, OutsideRun):
            return live
        if live is not None or (await self._sweeps.fold(workspace, run_id))[1].record.spec.outside is None:
            raise InvalidField(("run_id", f"{run_id} runs its trials itself: no outside program does"))
        if run.state is RunState.RUNNING:
            raise WrongState(
                f"{run_id} is not under way here; it is taken up at the server's next start.",
                metadata={"run_id": run_id, "state": run.state},
            )
        return None


async def closed_trials(store: Store, run: Run) -> dict[int, _Closed]:
    """Return the trials of which nothing more is told, by number."""
    found = await every_document(store, run.workspace, _CLOSED, prefix=f"{run.run_id}/")
    return {int(each.key.rpartition("/")[2]): msgspec.json.decode(each.data, type=_Closed) for each in found}


def given_of(fold: SweepFold, trial: TrialFold, items: Sequence[Item], expire_ns: int) -> Given:
    """Return a trial as programs get it."""
    choices = (
        stands_for(name, setting, fold.record.plan.space, trial.texts)
        for name, setting in trial.configuration.items()
        if isinstance(setting, str)
    )
    return Given(
        number=trial.number,
        trial=trial.end or under_way(fold, trial),
        texts=tuple(choice for choice in choices if choice.text or choice.models),
        lease_expire_ns=expire_ns,
        cases=tuple(items),
        told_case_ids=tuple(dict.fromkeys(case_id for case_id, _ in trial.answers)),
    )


def stopped(trial: TrialFold) -> bool:
    """Whether something else than its last case ended a trial."""
    return trial.end is not None and trial.state is not TrialState.COMPLETE


def _is_unscored(told: ToldCase) -> bool:
    return told.score is None and not told.failure


def _case(told: ToldCase) -> TrialCase:
    """Return a case that needs no scoring."""
    return TrialCase(
        case_id=told.case_id,
        sample=told.sample,
        outcome=Outcome.FAILED if told.failure else Outcome.SCORED,
        score=None if told.failure else told.score,
        output=told.output,
        failure=_failed(told.failure) if told.failure else None,
        cost=told.cost,
        latency_ns=told.latency_ns,
    )


def _failed(message: str) -> Failure:
    return Failure(reason=Reason.OUTSIDE_FAILED, message=message)


def _paused(run_id: RunId) -> WrongState:
    return WrongState(
        f"{run_id} is paused: answers are scored when it goes on. Tell them again then.",
        metadata={"run_id": run_id, "state": "paused"},
    )


def _closed_key(run_id: RunId, number: int) -> str:
    return f"{run_id}/{number:06d}"
