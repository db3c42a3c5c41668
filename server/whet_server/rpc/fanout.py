"""FanoutService: unpack, call, pack."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from whet.v1 import fanout_pb2, fanout_pb2_grpc
from whet_server.errors import PlanChanged
from whet_server.fanout.fanouts import Fanouts
from whet_server.fanout.spec import FanoutPlan, FanoutSpec
from whet_server.rpc import calls
from whet_server.rpc.convert.enums import RUN_STATE
from whet_server.rpc.convert.fanout import own_paths, plan_message, run_message, spec_of, view_message
from whet_server.rpc.gate import Gate
from whet_server.rpc.layers import Context
from whet_server.rpc.life import Life
from whet_server.rpc.pages import page_of
from whet_server.rpc.requests import Requests
from whet_server.values import BranchId, Principal, Role, RunId, new_id

_RUN = "whet.v1.FanoutService/RunFanout"
_START = "whet.v1.FanoutService/StartFanout"
_CANCEL = "whet.v1.FanoutService/CancelFanout"


class FanoutServicer(fanout_pb2_grpc.FanoutServiceServicer):
    """Fans out for the workspace that calls."""

    def __init__(self, fanouts: Fanouts, requests: Requests, gate: Gate, life: Life) -> None:
        self._fanouts = fanouts
        self._requests = requests
        self._gate = gate
        self._life = life

    async def PlanFanout(
        self, request: fanout_pb2.PlanFanoutRequest, context: Context
    ) -> fanout_pb2.PlanFanoutResponse:
        with own_paths(request.spec):
            plan = await self._fanouts.plan(calls.principal(), spec_of(request.spec))
        return plan_message(plan, needs_approval=self._gate.needs_approval(plan))

    async def RunFanout(
        self, request: fanout_pb2.RunFanoutRequest, context: Context
    ) -> AsyncGenerator[fanout_pb2.RunFanoutResponse, None]:
        run_id, _ = await self._requests.whole(self._start(_RUN, request))
        calls.enter_run(run_id)
        workspace = calls.principal().workspace
        watch = self._life.follow(lambda cursor: self._fanouts.watch(workspace, run_id, cursor), "")
        async with aclosing(watch) as batches:
            async for batch in batches:
                yield fanout_pb2.RunFanoutResponse(run_id=run_id, batch=batch)

    async def StartFanout(
        self, request: fanout_pb2.StartFanoutRequest, context: Context
    ) -> fanout_pb2.StartFanoutResponse:
        run_id, started = await self._requests.whole(self._start(_START, request))
        calls.enter_run(run_id)
        view = await self._fanouts.get(calls.principal().workspace, run_id)
        return fanout_pb2.StartFanoutResponse(fanout=view_message(view), started=started)

    async def WatchFanout(
        self, request: fanout_pb2.WatchFanoutRequest, context: Context
    ) -> AsyncGenerator[fanout_pb2.WatchFanoutResponse, None]:
        workspace, run_id = calls.principal().workspace, RunId(request.run_id)
        watch = self._life.follow(lambda cursor: self._fanouts.watch(workspace, run_id, cursor), request.cursor)
        async with aclosing(watch) as batches:
            async for batch in batches:
                yield fanout_pb2.WatchFanoutResponse(batch=batch)

    async def GetFanout(self, request: fanout_pb2.GetFanoutRequest, context: Context) -> fanout_pb2.GetFanoutResponse:
        view = await self._fanouts.get(calls.principal().workspace, RunId(request.run_id))
        return fanout_pb2.GetFanoutResponse(fanout=view_message(view))

    async def ListFanouts(
        self, request: fanout_pb2.ListFanoutsRequest, context: Context
    ) -> fanout_pb2.ListFanoutsResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "fanouts", workspace, request.state)
        runs = await self._fanouts.list(
            workspace,
            state=RUN_STATE.value.get(request.state),
            before=RunId(page.before) if page.before else None,
            limit=page.limit,
        )
        shown, token = page.cut(runs, lambda run: run.run_id)
        return fanout_pb2.ListFanoutsResponse(fanouts=[run_message(run) for run in shown], next_page_token=token)

    async def CancelFanout(
        self, request: fanout_pb2.CancelFanoutRequest, context: Context
    ) -> fanout_pb2.CancelFanoutResponse:
        principal, run_id = calls.principal(), RunId(request.run_id)
        calls.enter_run(run_id)
        await self._life.taken_up()
        begun_by = (await self._fanouts.get(principal.workspace, run_id)).run.role
        await self._gate.cancels(principal, _CANCEL, request, request_id=new_id("req"), begun_by=begun_by)
        view = await self._fanouts.cancel(
            principal.workspace, run_id, [BranchId(branch) for branch in request.branch_ids]
        )
        return fanout_pb2.CancelFanoutResponse(fanout=view_message(view))

    async def _start(
        self, method: str, request: fanout_pb2.RunFanoutRequest | fanout_pb2.StartFanoutRequest
    ) -> tuple[RunId, bool]:
        """Start the run, or find the one that this request id started. Say which, and whether it is new."""
        principal, spec = calls.principal(), spec_of(request.spec)
        with own_paths(request.spec):
            async with self._requests.turn(principal.workspace, method, request.request_id, request) as turn:
                if turn.answer is not None:
                    return RunId(turn.answer), False
                self._life.admit()
                if principal.role is Role.AGENT or request.plan_hash:
                    plan = await self._plan(principal, spec, request.plan_hash)
                    await self._gate.spends(principal, method, request, request_id=turn.request_id, plan=plan)
                run_id = RunId(new_id("fan"))
                calls.enter_run(run_id)
                await self._fanouts.start(
                    principal, spec, request_id=turn.request_id, run_id=run_id, also=turn.record(run_id)
                )
                return run_id, True

    async def _plan(self, principal: Principal, spec: FanoutSpec, expected: str) -> FanoutPlan:
        plan = await self._fanouts.plan(principal, spec)
        if expected and expected != plan.plan_hash:
            raise PlanChanged(
                "What would run is no longer what was planned. Plan again and look at what it costs now.",
                metadata={"expected": expected, "actual": plan.plan_hash},
            )
        return plan
