"""The judgements' door: plan, start, watch, get, list, cancel, gate, recover."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from whet_server.calibration.calibrations import Calibrations
from whet_server.errors import HoldoutSealed, InvalidField, NotFound, RunNotFound
from whet_server.judge import gate
from whet_server.judge.forecast import forecast, likely
from whet_server.judge.pace import Pace
from whet_server.judge.plan import Planner
from whet_server.judge.recovery import taken_up
from whet_server.judge.reports import Reports, record_of
from whet_server.judge.run import Conclude, JudgementRun, Tools
from whet_server.judge.spec import (
    GateAnswer,
    GateRequest,
    ItemOrder,
    Judged,
    JudgedItem,
    JudgementForecast,
    JudgementRecord,
    JudgementSpec,
    JudgementView,
)
from whet_server.judging import CalibrationState, Item, Judge, JudgeIdentity, Verdict
from whet_server.llm.base import Caller
from whet_server.llm.paid import Paid
from whet_server.log.events import RunOpened, VerdictsReached
from whet_server.log.log import Batch, EventLog, RunWriter
from whet_server.runs import CannotGoOn, Runs
from whet_server.score.scorers import Scorers
from whet_server.store.base import Store, Write
from whet_server.values import Failure, Principal, Run, RunId, RunKind, RunState, Workspace, new_id

_PREFIX: Final = {RunKind.JUDGEMENT: "jud", RunKind.AUDIT: "aud"}


class Judgements:
    """Runs judgements as tasks of this server; a caller that leaves does not stop them."""

    def __init__(
        self,
        log: EventLog,
        caller: Caller,
        store: Store,
        planner: Planner,
        scorers: Scorers,
        calibrations: Calibrations,
        *,
        clock: Callable[[], int] = time.time_ns,
        on_end: Callable[[RunId], None] | None = None,
    ) -> None:
        """`clock` returns Unix nanoseconds. `on_end` hears of every run that makes no more calls."""
        self._caller = caller
        self._store = store
        self._planner = planner
        self._scorers = scorers
        self._calibrations = calibrations
        self._clock = clock
        kinds = {RunKind.JUDGEMENT: "judgement", RunKind.AUDIT: "audit"}
        self._runs: Runs[JudgementRun] = Runs(log, kinds, clock=clock, on_end=on_end)
        self._reports = Reports(self._runs, planner, calibrations)
        self._pace = Pace()
        self._conclude: dict[RunKind, Conclude] = {}

    def concludes(self, kind: RunKind, conclude: Conclude) -> None:
        """Let runs of this kind record what `conclude` makes of their verdicts, with the sums and before the end."""
        self._conclude[kind] = conclude

    async def plan(self, principal: Principal, spec: JudgementSpec, *, purpose: str = "") -> JudgementForecast:
        """Say what it would do and cost. Raises what `Planner.plan` raises."""
        planned = await self._planner.plan(principal.workspace, spec, purpose)
        blocked = await self._blocked(principal.workspace, planned.record)
        scorers = [asked.scorer for asked in planned.record.criteria if asked.scorer is not None]
        scoring = await self._scorers.forecast(principal.workspace, planned.items, scorers)
        return await forecast(self._caller, principal.workspace, planned, scoring, blocked, self._pace)

    async def start(
        self,
        principal: Principal,
        spec: JudgementSpec,
        *,
        request_id: str,
        run_id: RunId | None = None,
        kind: RunKind = RunKind.JUDGEMENT,
        purpose: str = "",
        also: Sequence[Write] = (),
    ) -> Run:
        """Start it; the run is durable when this returns, in one transaction with `also` (such as the request id, which
        names the `run_id` that the caller made; None makes one here). `purpose` is kept for `conclude` to find. Raises
        what `plan` raises, and `Draining`.
        """
        planned = await self._planner.plan(principal.workspace, spec, purpose)
        record = planned.record
        blocked = await self._blocked(principal.workspace, record)
        cost = await likely(self._caller, principal.workspace, planned, blocked)
        opened = RunOpened(
            run_id=run_id or RunId(new_id(_PREFIX[kind])),
            kind=kind,
            title=record.spec.title,
            role=principal.role,
            request_id=request_id,
            spec=msgspec.json.encode(record).decode(),
            judgement=record.plan,
        )
        tools = self._tools(kind)
        return await self._runs.begin(
            principal,
            opened,
            lambda writer: JudgementRun(tools, writer, record, planned.items, blocked=blocked, likely=cost),
            also=also,
        )

    def watch(self, workspace: Workspace, run_id: RunId, cursor: str = "") -> AsyncIterator[Batch]:
        """Watch a judgement or an audit. Raises `RunNotFound` also for runs of another kind."""
        return self._runs.watch(workspace, run_id, cursor)

    async def run(self, workspace: Workspace, run_id: RunId) -> Run:
        """Return the row of a judgement or an audit. Raises `RunNotFound`."""
        return await self._runs.run(workspace, run_id)

    async def get(self, workspace: Workspace, run_id: RunId) -> JudgementView:
        """Return a judgement or an audit as it stands. Raises `RunNotFound`."""
        run = await self._runs.run(workspace, run_id)
        return await self._reports.view(run, await self._reports.seen(run))

    async def page(
        self, workspace: Workspace, run_id: RunId, order: ItemOrder
    ) -> tuple[JudgementView, list[JudgedItem], int]:
        """Return a judgement as it stands, the items that are wanted in the wanted order, and how many of all its items
        somebody has rated. Raises `RunNotFound`.
        """
        run = await self._runs.run(workspace, run_id)
        found = await self._reports.seen(run)
        items, rated = await self._reports.items(run, found, order)
        return await self._reports.view(run, found), items, rated

    async def list(
        self,
        workspace: Workspace,
        *,
        state: RunState | None = None,
        before: RunId | None = None,
        limit: int = 50,
    ) -> Sequence[JudgementView]:
        """Return judgements newest first, those before `before` only, without their sums."""
        runs = await self._runs.list(workspace, RunKind.JUDGEMENT, state=state, before=before, limit=limit)
        return [await self._reports.listed(run) for run in runs]

    async def cancel(self, workspace: Workspace, run_id: RunId) -> JudgementView:
        """Cancel a judgement or an audit; returns once the cancelled calls have been billed and reported. A finished
        one is returned as it is. Raises `RunNotFound`.
        """
        await self._runs.run(workspace, run_id)
        if live := self._runs.live(run_id):
            live.cancel()
            await self._runs.settled(run_id)
        else:
            await self._runs.check_ended(workspace, run_id)
        return await self.get(workspace, run_id)

    async def gate(self, workspace: Workspace, run_id: RunId, request: GateRequest) -> GateAnswer:
        """Decide whether what a judgement measured clears a bar. Raises `RunNotFound` also for an audit, `InvalidField`
        for a criterion that it does not have.
        """
        run = await self._runs.run(workspace, run_id)
        if run.kind is not RunKind.JUDGEMENT:
            raise RunNotFound(f"{run_id} is no judgement: an audit gates nothing.", metadata={"run_id": run_id})
        found = await self._reports.seen(run)
        view = await self._reports.view(run, found)
        measured, asked = gate.chosen(request.criterion, found.record.criteria, view.sums)
        standings = [await self._reports.standing(workspace, each, min_kappa=request.min_kappa) for each in asked]
        return gate.decide(request, measured, [each for each in standings if each is not None], run)

    async def judged(self, workspace: Workspace, run_id: RunId, criterion: str = "") -> Judged:
        """Return what a calibration compares with people: the verdicts of one judge of a run, by subject. No
        criterion: the only one with a judge. Raises `RunNotFound`, `InvalidField`.
        """
        found = await self._reports.seen(await self._runs.run(workspace, run_id))
        judges = [asked for asked in found.record.criteria if asked.judge is not None]
        asked = next((each for each in judges if each.name == criterion), None)
        if asked is None and not criterion and len(judges) == 1:
            asked = judges[0]
        if asked is None or asked.judge is None or asked.rubric is None or asked.identity is None:
            names = ", ".join(each.name for each in judges) or "none"
            raise InvalidField(("criterion", f"name a criterion that a judge decided; there are: {names}"))
        of = found.folded.of[asked.name]
        verdicts: dict[str, tuple[Verdict, ...]] = {}
        for item in found.folded.items:
            verdicts[item.subject] = (*verdicts.get(item.subject, ()), *of.get(item.item_id, ()))
        return Judged(
            criterion=asked.name,
            judge=asked.judge,
            identity=asked.identity,
            levels=tuple(range(asked.rubric.lowest, asked.rubric.highest + 1)),
            dimensions=asked.rubric.dimensions,
            verdicts=verdicts,
            simulated=any(verdict.simulated for said in of.values() for verdict in said),
        )

    async def rated(self, workspace: Workspace, run_id: RunId) -> tuple[Sequence[Item], tuple[str, ...]]:
        """Return what people rate of a judgement: its items, by the rubrics of its judges, each as name@version. Raises
        `RunNotFound`.
        """
        found = await self._reports.seen(await self._runs.run(workspace, run_id))
        rubrics = dict.fromkeys(asked.judge.rubric for asked in found.record.criteria if asked.judge is not None)
        return found.folded.items, tuple(rubrics)

    async def record(self, workspace: Workspace, run_id: RunId) -> JudgementRecord:
        """Return what a judgement or an audit was to do. Raises `RunNotFound`."""
        return (await self._reports.seen(await self._runs.run(workspace, run_id))).record

    async def identity(self, workspace: Workspace, judge: Judge) -> JudgeIdentity:
        """Return what a calibration of this judge is bound to, with defaults filled in as in a judgement. Raises
        `RubricNotFound`, `InvalidField`.
        """
        return await self._planner.identity(workspace, judge)

    async def recover(self) -> int:
        """Take up every judgement and audit that a crash left running; return how many. What may have been paid is not
        asked again.
        """
        return await self._runs.recover(self._again)

    async def drain(self, seconds: float) -> None:
        """Wait for judgements under way at most so long, then leave them to recovery. Nothing is started any more."""
        await self._runs.drain(seconds)

    async def _again(self, writer: RunWriter) -> JudgementRun:
        """Make a run's work from its record."""
        run = writer.run
        events = await self._runs.events(run)
        record = record_of(events[0].payload)
        try:
            items = await self._planner.again(run.workspace, record)
        except (NotFound, InvalidField, HoldoutSealed) as error:
            raise CannotGoOn(Failure(reason=error.reason, message=str(error), metadata=error.metadata)) from error
        paid = await Paid.read(self._store, self._caller, run)
        history, closed = await taken_up(paid, run, record, items, events)
        if closed:
            await writer.append(*(VerdictsReached(verdicts=(verdict,)) for verdict in closed))
        blocked = await self._blocked(run.workspace, record)
        return JudgementRun(self._tools(run.kind), writer, record, items, blocked=blocked, history=history)

    def _tools(self, kind: RunKind) -> Tools:
        reports, conclude = self._reports, self._conclude.get(kind)
        return Tools(self._caller, self._scorers, self._clock, reports.sum_up, reports.keep, self._pace, conclude)

    async def _blocked(self, workspace: Workspace, record: JudgementRecord) -> dict[str, Failure]:
        """Return the judges that must not be asked, with the reason, by criterion."""
        blocked: dict[str, Failure] = {}
        for asked in record.criteria if record.spec.require_calibrated else ():
            if asked.identity is None:
                continue
            # By the words that it judges by: a run that is taken up goes on as it began.
            standing = await self._calibrations.standing(workspace, asked.identity)
            if standing.state is not CalibrationState.CALIBRATED:
                reason, metadata = standing.error_reason or "", dict(standing.metadata)
                blocked[asked.name] = Failure(reason=reason, message=standing.reason, metadata=metadata)
        return blocked
