"""The audits' door: plan, start, get. An audit is a judgement of changed items (`variants.py`) whose verdicts are
compared at its end (`report.py`); it is watched, cancelled and taken up as one.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from whet_server.audit.report import report
from whet_server.audit.spec import AuditSpec, AuditView, Purpose
from whet_server.audit.variants import design, distinct
from whet_server.errors import InvalidField, RunNotFound
from whet_server.judge.asking import CANDIDATES
from whet_server.judge.items import Items
from whet_server.judge.judgements import Judgements
from whet_server.judge.plan import Planner
from whet_server.judge.spec import Criterion, JudgementForecast, JudgementRecord, JudgementSpec
from whet_server.judging import AuditAxis, AuditReport, Item, JudgeMode, Verdict
from whet_server.log.events import AuditReported, DurablePayload
from whet_server.log.log import EventLog
from whet_server.store.base import Write
from whet_server.values import Principal, Run, RunId, RunKind, Workspace

PAIRS: Final = "pairs"
"""The criterion by which a pointwise judge is asked about pairs, for the position."""
MOST_CHARACTERS: Final = 20_000_000
"""Of all changed items together: they stand in the run's first event."""
_LAST_EVENTS: Final = 4
"""The report stands among the last: sums, report, end."""


class Audits:
    """Audits judges, as runs of `judgements`."""

    def __init__(self, log: EventLog, planner: Planner, items: Items, judgements: Judgements) -> None:
        self._log = log
        self._planner = planner
        self._items = items
        self._judgements = judgements
        judgements.concludes(RunKind.AUDIT, _conclude)

    async def plan(self, principal: Principal, spec: AuditSpec) -> JudgementForecast:
        """Say what it would do and cost. Raises `InvalidField` with paths from `spec.` on, `RubricNotFound`,
        `EndpointNotFound`, `ModelNotFound`, `DatasetNotFound`, `HoldoutSealed`.
        """
        judgement, purpose = await self._judgement(principal.workspace, spec)
        return await self._judgements.plan(principal, judgement, purpose=purpose)

    async def start(
        self, principal: Principal, spec: AuditSpec, *, request_id: str, run_id: RunId, also: Sequence[Write] = ()
    ) -> Run:
        """Start it; the run is durable when this returns, in one transaction with `also`. Raises what `plan` raises,
        and `Draining`.
        """
        judgement, purpose = await self._judgement(principal.workspace, spec)
        return await self._judgements.start(
            principal,
            judgement,
            request_id=request_id,
            run_id=run_id,
            kind=RunKind.AUDIT,
            purpose=purpose,
            also=also,
        )

    async def get(self, workspace: Workspace, run_id: RunId) -> AuditView:
        """Return an audit as it stands. Raises `RunNotFound` also for a run that is none."""
        run = await self._log.run(workspace, run_id)
        if run.kind is not RunKind.AUDIT:
            raise RunNotFound(f"{run_id} is no audit.", metadata={"run_id": run_id})
        record = await self._judgements.record(workspace, run_id)
        view = await self._judgements.get(workspace, run_id)
        return AuditView(
            run=view.run,
            judge=_purpose(record).judge,
            verdicts=view.verdicts,
            planned=view.plan.verdicts,
            report=await self._report(view.run),
            failure=view.failure,
        )

    async def _report(self, run: Run) -> AuditReport | None:
        after = max(0, run.event_count - _LAST_EVENTS)
        last = await self._log.events(run.workspace, run.run_id, after=after)
        return next((event.payload.report for event in last if isinstance(event.payload, AuditReported)), None)

    async def _judgement(self, workspace: Workspace, spec: AuditSpec) -> tuple[JudgementSpec, str]:
        """Return the judgement that an audit is, and what its run keeps beside."""
        judge, rubric = await self._planner.judge(workspace, spec.judge, "spec.judge")
        found = await self._items.gather(
            workspace, JudgementSpec(items=spec.items, dataset=spec.dataset), [spec.judge.mode]
        )
        items = distinct(found.items)[: spec.items_per_axis]
        _check(items, judge.mode, "spec.items" if spec.items else "spec.dataset")
        axes = tuple(dict.fromkeys(spec.axes))
        made = design(items, axes, judge.mode, judge.models[0])
        if sum(len(text) for item in made.items for text in (item.input, *item.candidates)) > MOST_CHARACTERS:
            raise InvalidField(("spec.items_per_axis", "These items are too long for one audit: take fewer."))
        pairs: tuple[Criterion, ...] = ()
        if judge.mode is JudgeMode.POINTWISE and AuditAxis.POSITION in axes:
            pairs = (Criterion(name=PAIRS, judge=replace(judge, mode=JudgeMode.PAIRWISE)),)
        purpose = Purpose(judge=judge, axes=axes, comparisons=made.comparisons)
        judgement = JudgementSpec(
            items=made.items,
            judge=judge,
            criteria=pairs,
            concurrency=spec.concurrency,
            cap=spec.cap,
            title=f"audit of {', '.join(judge.models)} by {rubric.name}"[:200],
        )
        return judgement, msgspec.json.encode(purpose).decode()


async def _conclude(record: JudgementRecord, verdicts: Sequence[Verdict]) -> Sequence[DurablePayload]:
    """Compare what there is: of a cancelled audit, what was in."""
    purpose = _purpose(record)
    return [AuditReported(report=await asyncio.to_thread(report, purpose.comparisons, verdicts, purpose.axes))]


def _purpose(record: JudgementRecord) -> Purpose:
    return msgspec.json.decode(record.purpose, type=Purpose)


def _check(items: Sequence[Item], mode: JudgeMode, path: str) -> None:
    least, _ = CANDIDATES[mode]
    if few := [item for item in items if len(item.candidates) < least]:
        what = f"item {few[0].item_id} has {len(few[0].candidates)} answers; a {mode} judge looks at {least} or more"
        raise InvalidField((path, what))
