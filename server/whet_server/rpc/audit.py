"""The audits of CalibrationService: unpack, call, pack."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Final

from whet.v1 import calibration_pb2, judging_pb2
from whet_server.audit.audits import Audits
from whet_server.audit.spec import AuditSpec
from whet_server.errors import InvalidField
from whet_server.judge.judgements import Judgements
from whet_server.judging import AuditAxis
from whet_server.rpc import calls
from whet_server.rpc.convert.enums import RUN_STATE
from whet_server.rpc.convert.mirror import fill, value_of
from whet_server.rpc.convert.values import failure_or_none, money, totals_message
from whet_server.rpc.layers import Context
from whet_server.rpc.running import Running
from whet_server.values import RunId

_RUN: Final = "whet.v1.CalibrationService/RunAudit"
_AXES: Final = frozenset(judging_pb2.AuditAxis.values()) - {judging_pb2.AUDIT_AXIS_UNSPECIFIED}


class AuditCalls:
    """The part of `CalibrationServicer` that audits for the workspace that calls."""

    def __init__(self, audits: Audits, judgements: Judgements, running: Running) -> None:
        self._audits = audits
        self._judgements = judgements
        self._running = running

    async def PlanAudit(
        self, request: calibration_pb2.PlanAuditRequest, context: Context
    ) -> calibration_pb2.PlanAuditResponse:
        plan = await self._audits.plan(calls.principal(), _spec_of(request.spec))
        return calibration_pb2.PlanAuditResponse(
            plan_hash=plan.plan_hash,
            calls=plan.calls,
            cache_hits=plan.cache_hits,
            expected_cost=money(plan.expected),
            worst_cost=money(plan.worst),
            unpriced_models=plan.unpriced,
            needs_approval=self._running.needs_approval(plan),
        )

    async def RunAudit(
        self, request: calibration_pb2.RunAuditRequest, context: Context
    ) -> AsyncGenerator[calibration_pb2.RunAuditResponse, None]:
        principal, spec = calls.principal(), _spec_of(request.spec)
        run_id, _ = await self._running.begin(
            _RUN,
            request,
            "aud",
            plan=partial(self._audits.plan, principal, spec),
            start=partial(self._audits.start, principal, spec),
        )
        async with self._running.followed(self._judgements.watch, run_id) as batches:
            async for batch in batches:
                yield calibration_pb2.RunAuditResponse(run_id=run_id, batch=batch)

    async def GetAudit(
        self, request: calibration_pb2.GetAuditRequest, context: Context
    ) -> calibration_pb2.GetAuditResponse:
        view = await self._audits.get(calls.principal().workspace, RunId(request.run_id))
        message = calibration_pb2.GetAuditResponse(
            run_id=view.run.run_id,
            state=RUN_STATE.wire[view.run.state],
            verdicts=view.verdicts,
            planned=view.planned,
            totals=totals_message(view.run.totals),
            failure=failure_or_none(view.failure),
        )
        fill(view.judge, message.judge)
        if view.report is not None:
            fill(view.report, message.report)
        return message


def _spec_of(message: calibration_pb2.AuditSpec) -> AuditSpec:
    """Unpack an audit; what is not set has its default. Raises `InvalidField` for an axis that there is not."""
    for at, axis in enumerate(message.axes):
        if axis not in _AXES:
            raise InvalidField((f"spec.axes[{at}]", f"There is no such axis. There are: {', '.join(AuditAxis)}."))
    return value_of(message, AuditSpec)
