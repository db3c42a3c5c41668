"""Judgements as they stand: verdicts read from the log or from the run under way, summed, with what people say."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from whet_server.calibration.calibrations import Calibrations
from whet_server.calibration.standing import MIN_KAPPA, Standing, outdated
from whet_server.errors import RubricNotFound
from whet_server.judge.plan import Planner, left_out
from whet_server.judge.recovery import verdicts_of
from whet_server.judge.run import JudgementRun
from whet_server.judge.seen import Ratings, people, seen
from whet_server.judge.spec import Asked, ItemOrder, JudgedItem, JudgementRecord, JudgementView, Sums
from whet_server.judge.sums import Folded, Seen, summed
from whet_server.judging import CriterionSummary, Item, Outcome
from whet_server.log.events import Event, JudgementSummed, RunFinished, RunOpened
from whet_server.runs import Runs
from whet_server.values import Failure, Run, RunId, RunState, Workspace

_LAST_EVENTS: Final = 4
"""A run's sums stand among the last: sums, an audit's report, end."""
_KEPT: Final = 2
"""Finished judgements whose verdicts stay in memory: somebody pages through one, and looks at another beside it."""


class Reports:
    """Shows judgements and audits."""

    def __init__(self, runs: Runs[JudgementRun], planner: Planner, calibrations: Calibrations) -> None:
        self._runs = runs
        self._planner = planner
        self._calibrations = calibrations
        self._ended: OrderedDict[RunId, Seen] = OrderedDict()

    async def seen(self, run: Run) -> Seen:
        """Return a judgement with what is in. Raises what `Planner.again` raises when its items are gone."""
        live = self._runs.live(run.run_id)
        if live is not None and run.state is RunState.RUNNING:
            return Seen(live.record, live.folded())
        if run.state is not RunState.RUNNING and (kept := self._ended.get(run.run_id)) is not None:
            self._ended.move_to_end(run.run_id)
            return kept
        found = await self._read(run)
        if run.state is not RunState.RUNNING:
            self.keep(run.run_id, found)
        return found

    def keep(self, run_id: RunId, found: Seen) -> None:
        """Keep a judgement that has ended: somebody is about to look at it."""
        self._ended[run_id] = found
        if len(self._ended) > _KEPT:
            self._ended.popitem(last=False)

    async def view(self, run: Run, found: Seen) -> JudgementView:
        """Return a judgement as it stands. Sums on the record stay as they are but for what people have said since."""
        record, sums = found.record, found.sums
        if sums is None or record.spec.correct:
            missing = {} if run.state is RunState.RUNNING else left_out(found.folded)
            sums = await self.sum_up(run.workspace, record, found.folded, missing)
        else:
            states = await self.standings(run.workspace, record.criteria)
            sums = replace(sums, criteria=tuple(_standing_now(summary, states) for summary in sums.criteria))
        return JudgementView(run=run, plan=record.plan, sums=sums, verdicts=_ended(found.folded), failure=found.failure)

    async def listed(self, run: Run) -> JudgementView:
        """Return a judgement as lists show it."""
        if live := self._runs.live(run.run_id):
            return JudgementView(run=run, plan=live.record.plan, verdicts=len(live.verdicts))
        plan = record_of((await self._runs.opened(run)).payload).plan
        ends = await self._runs.events(run, after=max(1, run.event_count - _LAST_EVENTS)) if run.end_ns else []
        end = next((event.payload for event in ends if isinstance(event.payload, RunFinished)), None)
        sums = next((event.payload for event in ends if isinstance(event.payload, JudgementSummed)), None)
        return JudgementView(
            run=run,
            plan=plan,
            sums=Sums(combined=sums.combined) if sums is not None else Sums(),
            verdicts=_reached(sums),
            failure=end.failure if end is not None else None,
        )

    async def items(self, run: Run, found: Seen, order: ItemOrder) -> tuple[list[JudgedItem], int]:
        """Return the items that are wanted, in the wanted order, and how many of all are rated."""
        ratings = await self.ratings(run.workspace, found.record, found.folded.items)
        return await asyncio.to_thread(seen, found.folded, ratings, order)

    async def ratings(self, workspace: Workspace, record: JudgementRecord, items: Sequence[Item]) -> Ratings:
        """Return what people said of the items, by the rubrics of the run, on their scales."""
        rubrics = {asked.rubric.name: asked.rubric for asked in record.criteria if asked.rubric is not None}
        subjects = [item.subject for item in items] if rubrics else []
        return {
            name: await self._calibrations.ratings(workspace, subjects, name, (rubric.lowest, rubric.highest))
            for name, rubric in rubrics.items()
        }

    async def standings(self, workspace: Workspace, criteria: Sequence[Asked]) -> dict[str, Standing]:
        """Return whether the judges may gate, by criterion."""
        found = {asked.name: await self.standing(workspace, asked) for asked in criteria}
        return {name: standing for name, standing in found.items() if standing is not None}

    async def standing(self, workspace: Workspace, asked: Asked, *, min_kappa: float = MIN_KAPPA) -> Standing | None:
        """Return whether the judge of a criterion may gate what it has judged; None for a scorer."""
        if asked.judge is None or asked.identity is None:
            return None
        standing = await self._calibrations.standing(workspace, asked.identity, min_kappa=min_kappa)
        if not asked.follows:
            return standing
        newest = replace(asked.judge, rubric=asked.identity.rubric)
        try:
            now = await self._planner.identity(workspace, newest)
        except RubricNotFound:  # a built-in rubric of an older server: nothing follows it
            return standing
        return outdated(standing, asked.identity, now, asked.judge.rubric)

    async def sum_up(
        self, workspace: Workspace, record: JudgementRecord, folded: Folded, missing: Mapping[str, int]
    ) -> Sums:
        """Fold verdicts to sums, in a thread: the intervals of ten thousand items take half a second."""
        states = await self.standings(workspace, record.criteria)
        corrections: dict[str, dict[str, float]] = {}
        if record.spec.correct:
            ratings = await self.ratings(workspace, record, folded.items)
            corrections = {
                asked.name: people(asked, folded.items, ratings) for asked in record.criteria if asked.judge is not None
            }
        return await asyncio.to_thread(
            summed,
            folded,
            missing=missing,
            standings={name: standing.state for name, standing in states.items()},
            people=corrections,
        )

    async def _read(self, run: Run) -> Seen:
        events = await self._runs.events(run)
        record = record_of(events[0].payload)
        items = await self._planner.again(run.workspace, record)
        folded = Folded(record.criteria, items, verdicts_of(events))
        return Seen(record, folded, _sums_of(events), _failure_of(events))


def record_of(opened: object) -> JudgementRecord:
    """Return what the first event of a run keeps. Raises `msgspec.DecodeError`."""
    if not isinstance(opened, RunOpened):
        raise TypeError(f"a run's log begins with run_opened, not with {type(opened).__name__}")
    return msgspec.json.decode(opened.spec, type=JudgementRecord)


def _sums_of(events: Sequence[Event]) -> Sums | None:
    found = next(
        (event.payload for event in events[-_LAST_EVENTS:] if isinstance(event.payload, JudgementSummed)), None
    )
    return None if found is None else Sums(criteria=found.criteria, combined=found.combined)


def _failure_of(events: Sequence[Event]) -> Failure | None:
    last = events[-1].payload
    return last.failure if isinstance(last, RunFinished) else None


def _standing_now(summary: CriterionSummary, states: Mapping[str, Standing]) -> CriterionSummary:
    standing = states.get(summary.criterion)
    return summary if standing is None else replace(summary, calibration=standing.state)


def _ended(folded: Folded) -> int:
    """Return how many verdicts are in: what was cut off is none."""
    return sum(verdict.outcome is not Outcome.CANCELLED for verdict in folded.verdicts)


def _reached(sums: JudgementSummed | None) -> int:
    """Return how many verdicts ended otherwise than by a cancellation."""
    counts = [count for summary in sums.criteria for count in summary.outcomes] if sums is not None else []
    return sum(count.count for count in counts if count.outcome is not Outcome.CANCELLED)
