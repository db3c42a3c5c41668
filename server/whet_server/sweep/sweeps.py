"""The sweeps' door: plan, start, watch, get, list, control, fold, recover, drain.

What a sweep runs with (the search, templates, statistics) is loaded by the first sweep, in a thread: a server without
sweeps never pays for it.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from whet_server.dataset.datasets import Datasets
from whet_server.dataset.spec import DatasetRef, Split
from whet_server.errors import HoldoutSealed, HoldoutSpent, InvalidField, NotFound, RunNotFound, WrongState
from whet_server.judging import Item
from whet_server.ledger.ledger import Ledger
from whet_server.log.events import CasesFinished, RunFinished, RunOpened, SweepConcluded, SweepControlled
from whet_server.log.log import Batch, EventLog, RunWriter
from whet_server.runs import CannotGoOn, Runs
from whet_server.store.base import Document, Store, Write, every_document
from whet_server.sweep.fold import SweepFold, folded
from whet_server.sweep.follow_ups import check_chain, followed
from whet_server.sweep.measure import higher_is_better
from whet_server.sweep.outside import OutsideRun, closed_trials
from whet_server.sweep.plan import Chained, Planned, Planner, detectable, plan_hash, warnings
from whet_server.sweep.racing import objectives
from whet_server.sweep.recovery import fold_of, taken_up
from whet_server.sweep.reflecting import ReflectingRun
from whet_server.sweep.run import SweepRun, Tools
from whet_server.sweep.space import Space
from whet_server.sweep.spec import Retune, SweepForecast, SweepRecord, SweepSpec, SweepView
from whet_server.sweep.suggesting import Study
from whet_server.sweep.targets import Answers, Targets
from whet_server.sweep.views import view_of
from whet_server.sweeping import Budget, SamplerKind, SweepAction, SweepPlan
from whet_server.values import Failure, Nanos, Principal, Run, RunId, RunKind, RunState, Workspace, new_id

_CHILDREN: Final = "sweep_children"
_KEPT: Final = 4
"""Ended sweeps whose folds stay in memory: a report asks for one several times."""
_LAST_EVENTS: Final = 4
"""What a sweep found stands among the last: conclusion, end."""
SEAL_REASON: Final = "final figure of the sweep"
"""What the reason begins with that a sweep opens a seal for."""


def study_of(plan: SweepPlan) -> Study:
    """Make a sweep's study. In its thread: it loads what it samples with."""
    from whet_server.sweep.study import Study as Searching

    aims = [higher_is_better(each) for each in objectives(plan)]
    return Searching(Space(plan.space), plan.sampler, aims, plan.seed)


class Sweeps:
    """Runs sweeps as tasks of this server; a caller that leaves does not stop them."""

    def __init__(
        self,
        log: EventLog,
        store: Store,
        ledger: Ledger,
        planner: Planner,
        datasets: Datasets,
        targets: Targets,
        *,
        clock: Callable[[], int] = time.time_ns,
        on_end: Callable[[RunId], None] | None = None,
        study: Callable[[SweepPlan], Study] = study_of,
    ) -> None:
        """`clock` returns Unix nanoseconds. `on_end` hears of every run that makes no more calls. `study` makes what
        suggests.
        """
        self._store = store
        self._ledger = ledger
        self._planner = planner
        self._datasets = datasets
        self._targets = targets
        self._clock = clock
        self._study = study
        self._runs: Runs[SweepRun] = Runs(log, {RunKind.SWEEP: "sweep"}, clock=clock, on_end=on_end)
        self._folds: OrderedDict[RunId, SweepFold] = OrderedDict()

    async def plan(self, principal: Principal, spec: SweepSpec) -> SweepForecast:
        """Say what it would do and cost. Raises `InvalidField`, `HoldoutSpent`, and what cases and criteria raise."""
        return (await self._planned(principal.workspace, spec))[1]

    async def start(
        self,
        principal: Principal,
        spec: SweepSpec,
        *,
        request_id: str,
        run_id: RunId | None = None,
        also: Sequence[Write] = (),
    ) -> Run:
        """Start it; the run is durable when this returns, in one transaction with `also` (such as the request id, which
        names the `run_id` that the caller made; None makes one here). Raises what `plan` raises, and `Draining`.
        """
        workspace = principal.workspace
        planned, _ = await self._planned(workspace, spec)
        record = planned.record
        opened = RunOpened(
            run_id=run_id or RunId(new_id("swp")),
            kind=RunKind.SWEEP,
            title=record.spec.title,
            role=principal.role,
            request_id=request_id,
            spec=msgspec.json.encode(record).decode(),
            sweep=record.plan,
        )
        answers = await self._targets.answers(workspace, opened.run_id, record, planned.items)
        kind = _kind(record)
        return await self._runs.begin(
            principal,
            opened,
            lambda writer: kind(self._tools(answers), writer, SweepFold(opened), planned.items),
            also=(*also, *_child(workspace, record, opened.run_id)),
        )

    def watch(
        self, workspace: Workspace, run_id: RunId, cursor: str = "", *, without_cases: bool = False
    ) -> AsyncIterator[Batch]:
        """Watch a sweep. Raises `RunNotFound` also for runs of another kind."""
        batches = self._runs.watch(workspace, run_id, cursor)
        return _without_cases(batches) if without_cases else batches

    async def run(self, workspace: Workspace, run_id: RunId) -> Run:
        """Return the row of a sweep. Raises `RunNotFound`."""
        return await self._runs.run(workspace, run_id)

    def live(self, run_id: RunId) -> SweepRun | None:
        """Return a sweep under way."""
        return self._runs.live(run_id)

    async def fold(self, workspace: Workspace, run_id: RunId) -> tuple[Run, SweepFold]:
        """Return a sweep as far as it has come. Raises `RunNotFound`."""
        run = await self._runs.run(workspace, run_id)
        live = self._runs.live(run_id)
        if live is not None:
            return replace(run, totals=live.totals) if run.state is RunState.RUNNING else run, live.fold
        if (kept := self._folds.get(run_id)) is not None:
            self._folds.move_to_end(run_id)
            return run, kept
        fold = await fold_of(await self._runs.events(run))
        if run.state is not RunState.RUNNING:
            self._folds[run_id] = fold
            if len(self._folds) > _KEPT:
                self._folds.popitem(last=False)
        return run, fold

    async def cases(self, workspace: Workspace, record: SweepRecord) -> Sequence[Item]:
        """Return the cases of a sweep in its order, never those of a hold-out. Raises what `Items.gather` raises."""
        return await self._planner.again(workspace, record)

    async def get(self, workspace: Workspace, run_id: RunId) -> SweepView:
        """Return a sweep as it stands. Raises `RunNotFound`."""
        run, fold = await self.fold(workspace, run_id)
        live = self._runs.live(run_id)
        progress = live.progress() if live is not None else None
        return view_of(run, fold, progress, await self._children(workspace, run_id))

    async def list(
        self,
        workspace: Workspace,
        *,
        state: RunState | None = None,
        before: RunId | None = None,
        limit: int = 50,
    ) -> Sequence[SweepView]:
        """Return sweeps newest first, those before `before` only, without their controls."""
        runs = await self._runs.list(workspace, RunKind.SWEEP, state=state, before=before, limit=limit)
        return [await self._listed(run) for run in runs]

    async def control(
        self,
        principal: Principal,
        run_id: RunId,
        action: SweepAction,
        retune: Retune | None = None,
        *,
        also: Sequence[Write] = (),
    ) -> SweepView:
        """Steer a sweep, durable with `also` when it returns; to cancel returns when the calls that were cut off have
        been billed. Raises `RunNotFound`, `InvalidField` for what a retune must not change, `WrongState` for a sweep
        that has ended or is concluding; to cancel an ended one changes nothing.
        """
        run = await self._runs.run(principal.workspace, run_id)
        live = self._runs.live(run_id)
        if live is None:
            await self._runs.check_ended(principal.workspace, run_id)
            if action is not SweepAction.CANCEL:
                raise _over(run)
            await self._store.commit(*also)
            return await self.get(principal.workspace, run_id)
        event = SweepControlled(action=action, role=principal.role.value)
        if action is SweepAction.RETUNE:
            event = retuned(live, event, retune or Retune())
        if not await live.control(event, also):
            raise _over(run)
        if action is SweepAction.CANCEL:
            await self._runs.settled(run_id)
        return await self.get(principal.workspace, run_id)

    async def recover(self) -> int:
        """Take up every sweep that a crash left running; return how many. Finished cases are not asked again."""
        return await self._runs.recover(self._again)

    async def drain(self, seconds: float) -> None:
        """Wait for sweeps under way at most so long, then leave them to recovery. Nothing is started any more."""
        await self._runs.drain(seconds)

    async def _again(self, writer: RunWriter) -> SweepRun:
        """Make a run's work from its record."""
        run = writer.run
        events = await self._runs.events(run)
        fold, extra = await taken_up(events)
        try:
            items = await self._planner.again(run.workspace, fold.record)
            answers = await self._targets.answers(run.workspace, run.run_id, fold.record, items)
        except (NotFound, InvalidField, HoldoutSealed) as error:
            raise CannotGoOn(Failure(reason=error.reason, message=str(error), metadata=error.metadata)) from error
        if fold.record.spec.outside is not None:
            closed = await closed_trials(self._store, run)
            return OutsideRun(self._tools(answers), writer, await fold_of(events), items, closed=closed)
        return _kind(fold.record)(self._tools(answers), writer, fold, items, extra=extra)

    async def _listed(self, run: Run) -> SweepView:
        """Return a sweep as lists show it: of one that has ended, the events around its end are read, not all."""
        live = self._runs.live(run.run_id)
        if live is not None or run.run_id in self._folds:
            return replace(await self.get(run.workspace, run.run_id), controls=())
        opened = await self._runs.opened(run)
        fold = folded([(opened.payload, opened.time_ns)])
        ends = await self._runs.events(run, after=max(1, run.event_count - _LAST_EVENTS)) if run.end_ns else []
        for end in ends:
            if isinstance(end.payload, SweepConcluded | RunFinished | SweepControlled):
                fold.take(end.payload, end.time_ns)
        return replace(view_of(run, fold, None, ()), controls=())

    async def _planned(self, workspace: Workspace, given: SweepSpec) -> tuple[Planned, SweepForecast]:
        """Return a sweep with nothing left open, and what it would cost."""
        given, chained = await self._chained(workspace, given)
        if sum(each is not None for each in (given.pipeline, given.fanout, given.outside)) != 1:
            raise InvalidField(("spec.pipeline", "say what is optimised: a pipeline, a fan-out or an outside program"))
        Space(given.space).check()
        gathered = await self._planner.gathered(workspace, given)
        prepared = await self._targets.prepared(workspace, given, gathered.items)
        planned = await self._planner.plan(workspace, prepared.spec, gathered, prepared.baseline, chained)
        planned = replace(planned, models=planned.models | prepared.models)
        digest = await asyncio.to_thread(plan_hash, workspace, planned)  # estimates are no part of what would run
        costs = await self._targets.costs(workspace, planned)
        plan = planned.record.plan
        money = plan.budget.money
        worst = costs.worst if money is None else Nanos(min(costs.worst, money))
        plan = replace(
            plan,
            simulated=plan.simulated or any(info.simulated for info in planned.models.values()),
            expected_cost=Nanos(min(costs.expected, worst)),
            worst_cost=worst,
            calls=costs.calls,
            expected_duration_ns=costs.duration_ns,
        )
        planned = replace(planned, record=replace(planned.record, plan=plan))
        unpriced = [info for info in planned.models.values() if info.price is None]
        forecast = SweepForecast(
            plan_hash=digest,
            calls=costs.calls,
            cache_hits=costs.cache_hits,
            expected=plan.expected_cost,
            worst=worst,
            unpriced=tuple(info.name for info in unpriced),
            unbounded=any(not info.nearby for info in unpriced),
            plan=plan,
            low=Nanos(min(costs.low, worst)),
            duration_ns=costs.duration_ns,
            warnings=tuple(warnings(plan, unpriced)),
            detectable=None if plan.target == "outside" else detectable(plan),
            opens_seal=bool(plan.holdout_rows),
        )
        return planned, forecast

    async def _chained(self, workspace: Workspace, spec: SweepSpec) -> tuple[SweepSpec, Chained]:
        """Return a follow-up with what it leaves unset taken from its parent, and its place in the chain."""
        parent_id = spec.chain.parent_run_id
        if not parent_id:
            if spec.chain.step:
                raise InvalidField(
                    ("spec.chain.parent_run_id", f"which sweep is it that this one is to {spec.chain.step}?")
                )
            return spec, Chained()
        try:
            _, fold = await self.fold(workspace, parent_id)
        except RunNotFound as error:
            raise InvalidField(("spec.chain.parent_run_id", str(error))) from error
        if fold.result is None:
            raise InvalidField(("spec.chain.parent_run_id", f"{parent_id} has not concluded yet"))
        root_id, place = fold.record.chain_root or parent_id, fold.record.chain_place + 1
        root = fold.record if root_id == parent_id else (await self.fold(workspace, root_id))[1].record
        left = check_chain(root, place, await self._spent(workspace, root_id))
        spec = followed(fold.record, fold, fold.result, spec)
        if left is not None and (spec.budget.money is None or spec.budget.money > left):
            spec = replace(spec, budget=replace(spec.budget, money=left))
        return spec, Chained(root=root_id, place=place)

    async def _spent(self, workspace: Workspace, run_id: RunId) -> Nanos:
        """Return what a sweep and all that follow it have spent, and may be spending."""
        run, fold = await self.fold(workspace, run_id)
        own = run.totals.settled + run.totals.unknown
        if run.state is RunState.RUNNING:
            own = max(own, fold.budget.money or fold.record.plan.worst_cost)
        children = [await self._spent(workspace, child) for child in await self._children(workspace, run_id)]
        return Nanos(own + sum(children))

    def _tools(self, answers: Answers) -> Tools:
        return Tools(self._clock, self._ledger.run_totals, self._study, answers, self._open_seal)

    async def _open_seal(self, run: Run, record: SweepRecord) -> Sequence[Item]:
        """Open the hold-out for the final figure, once, and return its rows. Raises `HoldoutSpent` when somebody else
        did meanwhile.
        """
        ref = record.spec.dataset or DatasetRef()
        reason = f"{SEAL_REASON} {run.run_id}"
        principal = Principal(workspace=run.workspace, role=run.role)
        found = await self._datasets.get(run.workspace, ref.name, ref.version)
        if found.sealed:
            await self._datasets.open_seal(principal, ref.name, ref.version, reason)
        elif found.open_reason != reason:
            raise HoldoutSpent(
                f"The hold-out was opened by somebody else meanwhile ({found.open_reason}): a figure on it would not "
                "be one on rows that nothing was chosen by.",
                metadata={"name": ref.name, "version": str(ref.version)},
            )
        rows = replace(ref, split=Split.HOLDOUT, limit=0)
        return (await self._datasets.items(run.workspace, rows, answered=False)).items

    async def _children(self, workspace: Workspace, run_id: RunId) -> Sequence[RunId]:
        found = await every_document(self._store, workspace, _CHILDREN, prefix=f"{run_id}/")
        return [RunId(each.key.partition("/")[2]) for each in found]


def retuned(live: SweepRun, event: SweepControlled, retune: Retune) -> SweepControlled:
    """Return the event of a retune. Raises `InvalidField`."""
    budget, wrong = retune.budget, []
    if budget == Budget() and not retune.concurrency and not retune.space:
        wrong.append(("retune", "say what changes: a budget, the concurrency, or a narrower dimension"))
    if budget.trials and budget.trials < len(live.fold.trials):
        wrong.append(("retune.budget.trials", f"{len(live.fold.trials)} trials have begun already"))
    if wrong:
        raise InvalidField(*wrong)
    space = Space(live.fold.space).narrowed(retune.space).dimensions if retune.space else ()
    return replace(event, budget=None if budget == Budget() else budget, concurrency=retune.concurrency, space=space)


async def _without_cases(batches: AsyncIterator[Batch]) -> AsyncGenerator[Batch, None]:
    """Leave answers to cases out. A batch of nothing else still moves the cursor on."""
    try:
        async for batch in batches:
            kept = tuple(event for event in batch.events if not isinstance(event.payload, CasesFinished))
            yield replace(batch, events=kept)
    finally:
        if isinstance(batches, AsyncGenerator):
            await batches.aclose()


def _child(workspace: Workspace, record: SweepRecord, run_id: RunId) -> tuple[Document, ...]:
    """Return what makes a follow-up known to its parent."""
    parent = record.plan.parent_run_id
    if not parent:
        return ()
    return (Document(workspace=workspace, collection=_CHILDREN, key=f"{parent}/{run_id}", data=b"{}"),)


def _kind(record: SweepRecord) -> type[SweepRun]:
    """Return what carries a sweep to its end."""
    if record.spec.outside is not None:
        return OutsideRun
    return ReflectingRun if record.plan.sampler.kind is SamplerKind.REFLECTION else SweepRun


def _over(run: Run) -> WrongState:
    return WrongState(
        f"{run.run_id} has come to its end: there is nothing to steer.",
        metadata={"run_id": run.run_id, "state": run.state},
    )
