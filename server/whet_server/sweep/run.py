"""One sweep under way: trials suggested in order, answered case by case, stopped between rungs, replicated, concluded,
and held against the hold-out.

Everything that happens is on the record and in the fold; what is decided next depends on the fold alone. So a run that
is taken up from its record goes on as if nothing had been.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from whet_server.errors import Reason, WhetError, failure_of
from whet_server.judging import Item
from whet_server.log.events import (
    RunFinished,
    SweepConcluded,
    SweepControlled,
    SweepProgress,
    TrialFinished,
    TrialStarted,
)
from whet_server.log.log import RunWriter
from whet_server.log.telling import Telling
from whet_server.store.base import Write
from whet_server.sweep import trials
from whet_server.sweep.best import Rank, best_so_far, rank_of
from whet_server.sweep.conclude import conclude, holdout_figure
from whet_server.sweep.crew import Crew, Hears, Question
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.follow_ups import follow_ups
from whet_server.sweep.journal import Journal
from whet_server.sweep.racing import Known, decision, known, rungs
from whet_server.sweep.replicates import next_round
from whet_server.sweep.spec import SweepRecord
from whet_server.sweep.suggesting import Study, Suggesting
from whet_server.sweep.targets import Answers
from whet_server.sweeping import (
    BASELINE,
    Configuration,
    HoldoutFigure,
    SweepAction,
    SweepEnd,
    SweepPhase,
    SweepPlan,
    SweepResult,
    Trial,
    TrialCase,
    TrialState,
    configuration_of,
    written,
)
from whet_server.values import NANOSECONDS, Failure, Nanos, Run, RunId, RunState, Totals

BLIND_TRIALS: Final = 5
"""So many trials at the beginning without a single score end a sweep: what all of them lack, the next ones lack too."""
TOLD_EVERY: Final = 0.25
"""Seconds between two tellings: quick enough for an eye, slow enough for a thousand cases a second."""
CANCELLED: Final = Failure(reason=Reason.CANCELLED, message="Cancelled as asked.")
ENDS: Final[Mapping[str, SweepEnd]] = {"run": SweepEnd.MONEY, "tokens": SweepEnd.TOKENS}
_EARLY: Final = frozenset({SweepEnd.MONEY, SweepEnd.TOKENS, SweepEnd.TIME})
"""Ends before the search came to its own."""
_AMPLE: Final = 1.5
"""So many times what the hold-out is likely to cost is held back for it: its calls reserve their worst case."""


class Tools(NamedTuple):
    """What runs work with. `spent` is the ledger's money of a run; `holdout` opens the seal and returns its rows."""

    clock: Callable[[], int]
    spent: Callable[[RunId], Totals]
    study: Callable[[SweepPlan], Study]
    answers: Answers
    holdout: Callable[[Run, SweepRecord], Awaitable[Sequence[Item]]]


class SweepRun:
    """A sweep under way. `items` are its cases in the sweep's order; `extra` are answers to replicates that a crash
    left, of rounds that are gone through again.
    """

    def __init__(
        self,
        tools: Tools,
        writer: RunWriter,
        fold: SweepFold,
        items: Sequence[Item],
        *,
        extra: Mapping[tuple[int, str, int], TrialCase] | None = None,
    ) -> None:
        self.record = fold.record
        self.plan = fold.record.plan
        self.items = items
        self.fold = fold
        self.budget = fold.budget
        self.phase = SweepPhase.SEARCH
        self.best: Rank | None = None
        self._order = [item.item_id for item in items]
        self._place_of = {case_id: place for place, case_id in enumerate(self._order)}
        self._rungs = rungs(self.plan.racing, len(items))
        self._tools = tools
        self._writer = writer
        self._extra = dict(extra or {})
        self._known: dict[int, Known] = {}
        self._prefix = 0
        """Trials 0 to this, without it, have all ended."""
        self._running = {number for number, trial in fold.trials.items() if trial.end is None}
        self._pruned = 0
        self._cut_off = 0
        self._end: SweepEnd | None = _end_of(fold)
        self._news = asyncio.Event()
        self._steering = asyncio.Lock()
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self._crew: Crew | None = None
        self._group: asyncio.TaskGroup | None = None
        self._begin = asyncio.get_running_loop().time()
        answers = [
            case for trial in fold.trials.values() for case in (*trial.answers.values(), *trial.holdout.values())
        ]
        self._journal = Journal(
            writer, fold, sum((case.totals for case in (*answers, *self._extra.values())), Totals())
        )
        self._journal.answers = self._before = len(answers) + len(self._extra)
        self._suggesting = Suggesting(lambda: tools.study(self.plan), fold)
        self._telling = Telling(lambda: writer.emit(self.progress()), TOLD_EVERY)
        writer.snapshot = lambda: (self.progress(),)

    # -- the way through -------------------------------------------------------------------------------------------

    async def drive(self) -> None:
        """Carry the sweep to its end. Cancelling the task cuts every call off and leaves the run as it is, to be taken
        up again.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._crew = self._new_crew(group)
                self._afford()
                self._watch_time()
                end = await self._search()
                end = await self._replicate(end)
                result = self.fold.result or await self._result(end)
                self._over = True
            await self._finish(end, result)
        finally:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            self._telling.close()
            self._journal.close()
            self._suggesting.close()

    async def close(self, failure: Failure) -> None:
        """Close the run as FAILED, because it cannot be carried on."""
        await self._writer.finish(self._finished(RunState.FAILED, failure))

    async def _search(self) -> SweepEnd:
        """Run trials until nothing more is to be tried."""
        for trial in sorted(self.fold.trials.values(), key=lambda each: each.number):
            if trial.end is not None:
                self._note(trial, await asyncio.to_thread(known, self.plan, trial, self.fold.trials[BASELINE]))
        await self._restore()
        for trial in self.fold.trials.values():
            if trial.end is None:
                self._launch(trial)
        exhausted = await self._try_all()
        await self._until(lambda: not self._running)
        if self._end is not None:
            return self._end
        return SweepEnd.SPACE if exhausted else SweepEnd.TRIALS

    async def _restore(self) -> None:
        """Bring the study to where the record has it."""
        await self._suggesting.restore()

    async def _try_all(self) -> bool:
        """Start trials until there is nothing more to try; return whether the space is exhausted."""
        while True:
            await self._until(lambda: self._end is not None or self._has_room() or self._is_through())
            if self._end is not None or self._is_through():
                return False
            if await self._next() is None:
                return True

    async def _next(self, worker: str = "", also: Sequence[Write] = ()) -> TrialFold | None:
        """Start the next trial, durable together with `also`; None when the space is exhausted. `worker` runs it, where
        an outside program does.
        """
        async with self._steering:
            number = len(self.fold.trials)
            configuration: Configuration | None = configuration_of(self.plan.baseline)
            if number != BASELINE:
                configuration = await self._suggesting.ask(number)
            if configuration is None:
                return None
            started = TrialStarted(number=number, parameters=written(configuration), worker=worker)
            self._post(started, also=also)
            trial = self.fold.trials[number]
            if number == BASELINE:
                await self._restore()
            self._launch(trial)
            return trial

    def _launch(self, trial: TrialFold) -> None:
        self._running.add(trial.number)
        if self._group is not None:
            self._group.create_task(self._trial(trial), name=f"{self._writer.run.run_id}/t{trial.number}")

    async def _trial(self, trial: TrialFold) -> None:
        """Answer a trial's cases rung by rung, to its end or until racing stops it."""
        state, reason = TrialState.COMPLETE, ""
        for rung in self._rungs:
            await self._answer(trial, rung)
            if any((case_id, 1) not in trial.answers for case_id in self._order[:rung]):
                state = TrialState.CANCELLED
                break
            if trial.number == BASELINE:
                continue
            await self._until(lambda: self._has_ended(BASELINE))
            if trials.hopeless(trial, len(self.items)):
                break
            if rung < len(self.items) and (said := await self._decision(trial, rung)):
                state, reason = TrialState.PRUNED, said
                break
        await self._end_trial(trial, state, reason)

    async def _answer(self, trial: TrialFold, rung: int) -> None:
        missing = [
            Question(trial.number, place, item)
            for place, item in enumerate(self.items[:rung])
            if (item.item_id, 1) not in trial.answers
        ]
        await self._ask_all(missing)

    async def _ask_all(self, questions: Sequence[Question]) -> None:
        if self._crew is not None and questions:
            await self._crew.do(questions)

    async def _decision(self, trial: TrialFold, rung: int) -> str | None:
        """Return why racing stops a trial, from the trials that it may know and the cases up to the rung."""
        prefix = frozenset(self._order[:rung])
        last = trial.number - self.plan.trials_at_once
        others = [self._known[number] for number in range(max(last, 0) + 1)]

        def decided() -> str | None:
            mine = known(self.plan, trial, self.fold.trials[BASELINE])
            values = {case_id: value for case_id, value in mine.values.items() if case_id in prefix}
            return decision(self.plan, dataclasses.replace(mine, values=values), others, self._order)

        return await asyncio.to_thread(decided)

    async def _end_trial(self, trial: TrialFold, state: TrialState, reason: str) -> None:
        if trial.number != BASELINE:
            await self._until(lambda: self._has_ended(BASELINE))
        baseline = self.fold.trials[BASELINE]
        failure, now = self._failure_of(trial), self._tools.clock()

        def stands() -> tuple[Trial, Known]:
            ended = trials.ended(self.plan, trial, baseline, state, reason, now, failure)
            return ended, known(self.plan, trial, baseline)

        # In a thread, and once: there may be twenty thousand cases to go through.
        ended, found = await asyncio.to_thread(stands)
        self._post(TrialFinished(trial=ended))
        self._note(trial, dataclasses.replace(found, state=ended.state))
        blind = [self.fold.trials[number] for number in range(min(self._prefix, BLIND_TRIALS))]
        if len(blind) == BLIND_TRIALS and not any(each.end and each.end.scored_cases for each in blind):
            self._stop_search(SweepEnd.FAILED)

    def _failure_of(self, trial: TrialFold) -> Failure | None:
        """Return why a whole trial failed, whatever its cases say."""

    def _note(self, trial: TrialFold, found: Known) -> None:
        """Take note of a trial that has ended, and of what racing knows of it."""
        self._known[trial.number] = found
        self._running.discard(trial.number)
        self._pruned += trial.state is TrialState.PRUNED
        self._cut_off += trial.state is TrialState.CANCELLED
        while self._has_ended(self._prefix):
            self._prefix += 1
        rank = rank_of(self.plan, trial.end, self.fold.trials[BASELINE].end) if trial.end is not None else None
        self.best = max(filter(None, (self.best, rank)), default=None)
        self._afford()
        self._tell()

    async def _replicate(self, end: SweepEnd) -> SweepEnd:
        """Ask again where it decides something, round by round."""
        if end not in {SweepEnd.SPACE, SweepEnd.TRIALS} or self.fold.result is not None:
            return end
        self.phase = SweepPhase.REPLICATE
        while self._end is None:
            wanted = await self._suggesting.think(next_round, self.plan, self.fold, self._order)
            if not wanted:
                break
            asked = [
                Question(number, place := self._place_of[case_id], self.items[place], sample)
                for number, case_id, sample in wanted
                if (number, case_id, sample) not in self._extra
            ]
            for number, case_id, sample in wanted:
                if (kept := self._extra.get((number, case_id, sample))) is not None:
                    self.fold.trials[number].answers[case_id, sample] = kept
            await self._ask_all(asked)
            await self._restate(sorted({number for number, _, _ in wanted}))
        return self._end or end

    async def _restate(self, numbers: Sequence[int]) -> None:
        """Say how trials stand after a round, where that is not on the record."""
        baseline = self.fold.trials[BASELINE]
        for number in numbers:
            trial = self.fold.trials[number]
            if trial.end is not None and trial.end.answers < len(trial.answers):
                now = self._tools.clock()
                end = await asyncio.to_thread(
                    trials.ended, self.plan, trial, baseline, trial.state, trial.end.reason, now
                )
                self._post(TrialFinished(trial=replace(end, end_ns=trial.end.end_ns)))
        self.best = best_so_far(self.plan, self.fold)

    async def _result(self, end: SweepEnd) -> SweepResult:
        """Conclude, open the hold-out where that was asked for, and say what could follow."""
        result: SweepResult = await self._suggesting.think(conclude, self.record, self.fold, end)
        if self.plan.holdout_rows and result.best is not None and end is not SweepEnd.CANCELLED:
            result = replace(result, holdout=await self._held_out(result.best, end))
        found = await self._suggesting.think(follow_ups, self.record, self.fold, result)
        return replace(result, follow_ups=found)

    async def _held_out(self, best: int, end: SweepEnd) -> HoldoutFigure:
        """Let the best and the baseline answer the hold-out."""
        ref = self.record.spec.dataset
        name = f"{ref.name}@{ref.version}" if ref is not None else ""
        figure = HoldoutFigure(dataset=name, rows=self.plan.holdout_rows)
        if end is SweepEnd.TIME:
            said = "The time was used up before the hold-out could be answered. It stays under seal."
            return replace(figure, failure=Failure(reason=Reason.DEADLINE_EXCEEDED, message=said))
        self.phase = SweepPhase.HOLDOUT
        self._tell()
        await self._journal.settled()
        try:
            rows = await self._tools.holdout(self._writer.run, self.record)
        except WhetError as error:
            return replace(figure, failure=failure_of(error))
        self._tools.answers.open(rows)
        self._tools.answers.afford(self.budget)
        if self._crew is not None:
            self._crew.reopen()
        await self._ask_all(
            [
                Question(number, place, item, holdout=True)
                for number in sorted({BASELINE, best})
                for place, item in enumerate(rows)
                if (item.item_id, 1) not in self.fold.trials[number].holdout
            ]
        )
        made: HoldoutFigure = await self._suggesting.think(
            holdout_figure, self.record, self.fold, best, name, len(rows)
        )
        return made

    async def _finish(self, end: SweepEnd, result: SweepResult) -> None:
        if self.fold.result is None:
            self._post(SweepConcluded(result=result))
        state, failure = _state(self.fold, result.end)
        self._journal.flush()
        await self._writer.finish(self._finished(state, failure))
        await self._journal.settled()

    def _finished(self, state: RunState, failure: Failure | None) -> RunFinished:
        run = self._writer.run
        latency = max(0, self._tools.clock() - run.create_ns)
        return RunFinished(state=state, failure=failure, totals=self.totals, latency_ns=latency)

    # -- what steers it --------------------------------------------------------------------------------------------

    async def control(self, event: SweepControlled, also: Sequence[Write] = ()) -> bool:
        """Steer the sweep; durable when it returns. Returns whether it was still to be steered."""
        if event.action is SweepAction.RETUNE and event.space:
            async with self._steering:
                return await self._control(replace(event, from_trial=len(self.fold.trials)), also)
        return await self._control(replace(event, from_trial=len(self.fold.trials)), also)

    async def _control(self, event: SweepControlled, also: Sequence[Write]) -> bool:
        if self._over and event.action is not SweepAction.CANCEL:
            return False
        self._journal.flush()
        await self._writer.append(event, also=also)
        self.fold.take(event, self._tools.clock())
        self._apply(event)
        return True

    def _apply(self, event: SweepControlled) -> None:
        crew = self._crew
        match event.action:
            case SweepAction.PAUSE if crew is not None:
                crew.pause()
            case SweepAction.RESUME if crew is not None:
                crew.resume()
            case SweepAction.STOP:
                self._stop_search(SweepEnd.STOPPED)
            case SweepAction.CANCEL:
                self._stop_search(SweepEnd.CANCELLED)
            case SweepAction.RETUNE:
                self.budget = self.fold.budget
                self._afford()
                self._watch_time()
                if event.concurrency and crew is not None:
                    crew.retune(event.concurrency)
        self._tell()

    def _stop_search(self, end: SweepEnd) -> None:
        """End the search: nothing more is begun. A cancelled one, and one whose time is up, is cut off; what is under
        way in others is paid for and may land.
        """
        if self._end is None or end is SweepEnd.CANCELLED:
            self._end = end
        concluding = end is SweepEnd.STOPPED and self.phase is SweepPhase.HOLDOUT  # whose seal is open already
        if self._crew is not None and not concluding:
            self._crew.close(cut=end in {SweepEnd.CANCELLED, SweepEnd.TIME})
        self._tell()

    def _watch_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.budget.time_ns is not None and not self._over:
            left = self._writer.run.create_ns + self.budget.time_ns - self._tools.clock()
            self._timer = asyncio.get_running_loop().call_later(
                max(0.0, left / NANOSECONDS), self._stop_search, SweepEnd.TIME
            )

    def _afford(self) -> None:
        """Say what the search may use: the budget less what the hold-out is likely to need, as answers have cost."""
        budget, answers = self.budget, self._journal.answers
        if answers and self.plan.holdout_rows and self.phase is not SweepPhase.HOLDOUT:
            totals = self.totals
            need = _AMPLE * 2 * self.plan.holdout_rows / answers
            if budget.money is not None:
                held = min(budget.money // 2, round(need * (totals.settled + totals.unknown)))
                budget = replace(budget, money=Nanos(budget.money - held))
            if budget.tokens:
                used = totals.usage.input_tokens + totals.usage.output_tokens
                budget = replace(budget, tokens=budget.tokens - min(budget.tokens // 2, round(need * used)))
        self._tools.answers.afford(budget)

    def _pause_for_cap(self, failure: Failure) -> None:
        """Pause for a cap of the workspace, which a person may raise or a new day lifts."""
        self._post(SweepControlled(action=SweepAction.PAUSE, role="server", reason=failure.message))
        self._tell()

    # -- how it stands ---------------------------------------------------------------------------------------------

    @property
    def totals(self) -> Totals:
        """Sums so far: money as the ledger has it, which also knows what was cut off."""
        spent = self._tools.spent(self._writer.run.run_id)
        mine = self._journal.totals
        return replace(
            mine,
            settled=max(mine.settled, spent.settled),
            unknown=max(mine.unknown, spent.unknown),
            reserved=spent.reserved,
        )

    def progress(self) -> SweepProgress:
        """Return how far it is. The rest is taken to cost and to last as long as what is in."""
        totals, running = self.totals, len(self._running)
        ended = len(self.fold.trials) - running
        fresh = self._journal.answers - self._before
        left = self._answers_left(ended)
        paid = totals.settled + totals.unknown
        share = paid / self._journal.answers if self._journal.answers else 0.0
        seconds = asyncio.get_running_loop().time() - self._begin
        money = self.budget.money
        return SweepProgress(
            phase=self._shown_phase(),
            ended=ended - self._cut_off,
            pruned=self._pruned,
            running=running,
            answers=self._journal.answers,
            in_flight=self._crew.in_flight if self._crew is not None else 0,
            best=self.best.number if self.best else None,
            best_value=self.best.value if self.best else None,
            totals=totals,
            money_left=None if money is None else Nanos(max(0, money - paid - totals.reserved)),
            time_left_ns=round(seconds / fresh * left * NANOSECONDS) if fresh and ended else None,
            expected_left=Nanos(round(share * left)),
        )

    def _shown_phase(self) -> SweepPhase:
        return SweepPhase.PAUSED if self.fold.paused and not self._over else self.phase

    def _answers_left(self, ended: int) -> float:
        """Return how many answers are likely to come: trials so far have had this many each."""
        each = self._journal.answers / max(1, ended) if ended else len(self.items)
        return max(0.0, (self.budget.trials - ended) * min(each, len(self.items))) if self._end is None else 0.0

    def _has_room(self) -> bool:
        number = len(self.fold.trials)
        lag = self.plan.trials_at_once
        return not self.fold.paused and number < self.budget.trials and self._prefix > number - lag

    def _is_through(self) -> bool:
        return len(self.fold.trials) >= self.budget.trials and not self._running

    def _has_ended(self, number: int) -> bool:
        trial = self.fold.trials.get(number)
        return trial is not None and trial.end is not None

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._news.clear()
            await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._telling.news()

    def _post(
        self,
        *payloads: "TrialStarted | TrialFinished | SweepControlled | SweepConcluded",
        also: Sequence[Write] = (),
    ) -> None:
        self._journal.post(*payloads, now_ns=self._tools.clock(), also=also)

    def _new_crew(self, group: asyncio.TaskGroup) -> Crew:
        concurrency = next((each.concurrency for each in reversed(self.fold.controls) if each.concurrency), 0)
        crew = Crew(
            self._ask,
            Hears(self._landed, lambda cap: self._stop_search(ENDS[cap]), self._pause_for_cap),
            spawn=group.create_task,
            concurrency=concurrency or self.plan.concurrency,
            paused=self.fold.paused,
        )
        if self._end is not None:
            crew.close(cut=False)
        return crew

    async def _ask(self, question: Question, stop: asyncio.Event) -> TrialCase:
        trial = self.fold.trials[question.number]
        texts = {choice.label: choice.text for choice in trial.texts}
        return await self._tools.answers.case(question, trial.configuration, texts, stop)

    async def _landed(self, question: Question, case: TrialCase) -> None:
        await self._journal.land(question.number, case, holdout=question.holdout)
        self._telling.news()


def _end_of(fold: SweepFold) -> SweepEnd | None:
    """Return how somebody ended the search, as the record says."""
    actions = {control.action for control in fold.controls}
    if SweepAction.CANCEL in actions:
        return SweepEnd.CANCELLED
    return SweepEnd.STOPPED if SweepAction.STOP in actions else None


def _state(fold: SweepFold, end: SweepEnd) -> tuple[RunState, Failure | None]:
    """Decide how the run ended, as `Sweep.state` in the contract says."""
    ends = [trial.end for trial in fold.trials.values() if trial.end is not None]
    failed = [end for end in ends if end.state is TrialState.FAILED]
    first = failed[0].failure if failed else None
    if end is SweepEnd.CANCELLED:
        return RunState.CANCELLED, CANCELLED
    if not any(each.scored_cases for each in ends):
        return RunState.FAILED, first or Failure(reason=Reason.TOO_FEW_SCORES, message="No case has a score.")
    if end in _EARLY:
        said = f"The budget of {end.value} was used up before the search came to its end."
        return RunState.PARTIAL, Failure(reason=Reason.CAP_EXCEEDED, message=said, metadata={"end": end.value})
    if first is not None:
        said = f"{len(failed)} of {len(ends)} trials could not be scored. The first one: {first.message}"
        return RunState.PARTIAL, Failure(reason=first.reason, message=said)
    return RunState.SUCCEEDED, None
