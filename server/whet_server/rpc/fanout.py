"""FanoutService: unpack, call, pack."""

from collections.abc import AsyncGenerator
from functools import partial

from whet.v1 import fanout_pb2, fanout_pb2_grpc
from whet_server.fanout.fanouts import Fanouts
from whet_server.rpc import calls
from whet_server.rpc.convert.enums import RUN_STATE
from whet_server.rpc.convert.fanout import own_paths, plan_message, run_message, spec_of, view_message
from whet_server.rpc.layers import Context
from whet_server.rpc.pages import page_of
from whet_server.rpc.running import Running
from whet_server.values import BranchId, RunId

_RUN = "whet.v1.FanoutService/RunFanout"
_START = "whet.v1.FanoutService/StartFanout"
_CANCEL = "whet.v1.FanoutService/CancelFanout"


class FanoutServicer(fanout_pb2_grpc.FanoutServiceServicer):
    """Fans out for the workspace that calls."""

    def __init__(self, fanouts: Fanouts, running: Running) -> None:
        self._fanouts = fanouts
        self._running = running

    async def PlanFanout(
        self, request: fanout_pb2.PlanFanoutRequest, context: Context
    ) -> fanout_pb2.PlanFanoutResponse:
        with own_paths(request.spec):
            plan = await self._fanouts.plan(calls.principal(), spec_of(request.spec))
        return plan_message(plan, needs_approval=self._running.needs_approval(plan))

    async def RunFanout(
        self, request: fanout_pb2.RunFanoutRequest, context: Context
    ) -> AsyncGenerator[fanout_pb2.RunFanoutResponse, None]:
        run_id, _ = await self._begin(_RUN, request)
        async with self._running.followed(self._fanouts.watch, run_id) as batches:
            async for batch in batches:
                yield fanout_pb2.RunFanoutResponse(run_id=run_id, batch=batch)

    async def StartFanout(
        self, request: fanout_pb2.StartFanoutRequest, context: Context
    ) -> fanout_pb2.StartFanoutResponse:
        run_id, started = await self._begin(_START, request)
        view = await self._fanouts.get(calls.principal().workspace, run_id)
        return fanout_pb2.StartFanoutResponse(fanout=view_message(view), started=started)

    async def WatchFanout(
        self, request: fanout_pb2.WatchFanoutRequest, context: Context
    ) -> AsyncGenerator[fanout_pb2.WatchFanoutResponse, None]:
        async with self._running.followed(self._fanouts.watch, RunId(request.run_id), request.cursor) as batches:
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
        workspace, run_id = await self._running.ending(_CANCEL, request, self._fanouts.run)
        view = await self._fanouts.cancel(workspace, run_id, [BranchId(branch) for branch in request.branch_ids])
        return fanout_pb2.CancelFanoutResponse(fanout=view_message(view))

    async def _begin(
        self, method: str, request: fanout_pb2.RunFanoutRequest | fanout_pb2.StartFanoutRequest
    ) -> tuple[RunId, bool]:
        principal, spec = calls.principal(), spec_of(request.spec)
        with own_paths(request.spec):
            return await self._running.begin(
                method,
                request,
                "fan",
                plan=partial(self._fanouts.plan, principal, spec),
                start=partial(self._fanouts.start, principal, spec),
            )
