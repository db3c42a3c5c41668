"""SweepService: unpack, call, pack. Specs may hold twenty thousand cases, so they are unpacked in a thread."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Final

from whet.v1 import sweep_pb2, sweep_pb2_grpc
from whet_server.rpc import calls
from whet_server.rpc.convert.enums import RUN_STATE
from whet_server.rpc.convert.sweep import ACTION, forecast_message, retune_of, spec_of, view_message
from whet_server.rpc.layers import Context
from whet_server.rpc.pages import page_of
from whet_server.rpc.running import Running
from whet_server.sweep.sweeps import Sweeps
from whet_server.sweeping import SweepAction
from whet_server.values import RunId

_START: Final = "whet.v1.SweepService/StartSweep"
_CONTROL: Final = "whet.v1.SweepService/ControlSweep"


class SweepServicer(sweep_pb2_grpc.SweepServiceServicer):
    """Sweeps for the workspace that calls."""

    def __init__(self, sweeps: Sweeps, running: Running) -> None:
        self._sweeps = sweeps
        self._running = running

    async def PlanSweep(self, request: sweep_pb2.PlanSweepRequest, context: Context) -> sweep_pb2.PlanSweepResponse:
        spec = await asyncio.to_thread(spec_of, request.spec)
        forecast = await self._sweeps.plan(calls.principal(), spec)
        return forecast_message(forecast, needs_approval=self._running.needs_approval(forecast))

    async def StartSweep(self, request: sweep_pb2.StartSweepRequest, context: Context) -> sweep_pb2.StartSweepResponse:
        principal, spec = calls.principal(), await asyncio.to_thread(spec_of, request.spec)
        run_id, started = await self._running.begin(
            _START,
            request,
            "swp",
            plan=partial(self._sweeps.plan, principal, spec),
            start=partial(self._sweeps.start, principal, spec),
        )
        view = await self._sweeps.get(principal.workspace, run_id)
        return sweep_pb2.StartSweepResponse(sweep=view_message(view), started=started)

    async def WatchSweep(
        self, request: sweep_pb2.WatchSweepRequest, context: Context
    ) -> AsyncGenerator[sweep_pb2.WatchSweepResponse, None]:
        watch = partial(self._sweeps.watch, without_cases=request.without_cases)
        async with self._running.followed(watch, RunId(request.run_id), request.cursor) as batches:
            async for batch in batches:
                yield sweep_pb2.WatchSweepResponse(batch=batch)

    async def GetSweep(self, request: sweep_pb2.GetSweepRequest, context: Context) -> sweep_pb2.GetSweepResponse:
        view = await self._sweeps.get(calls.principal().workspace, RunId(request.run_id))
        return sweep_pb2.GetSweepResponse(sweep=view_message(view))

    async def ListSweeps(self, request: sweep_pb2.ListSweepsRequest, context: Context) -> sweep_pb2.ListSweepsResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "sweeps", workspace, request.state)
        views = await self._sweeps.list(
            workspace,
            state=RUN_STATE.value.get(request.state),
            before=RunId(page.before) if page.before else None,
            limit=page.limit,
        )
        shown, token = page.cut(views, lambda view: view.run.run_id)
        return sweep_pb2.ListSweepsResponse(sweeps=[view_message(view) for view in shown], next_page_token=token)

    async def ControlSweep(
        self, request: sweep_pb2.ControlSweepRequest, context: Context
    ) -> sweep_pb2.ControlSweepResponse:
        action, retune = ACTION.value[request.action], retune_of(request.retune)
        run_id = await self._running.steered(
            _CONTROL,
            request,
            self._sweeps.run,
            alone=action is not SweepAction.RETUNE,
            steer=lambda also: self._sweeps.control(
                calls.principal(), RunId(request.run_id), action, retune, also=also
            ),
        )
        view = await self._sweeps.get(calls.principal().workspace, run_id)
        return sweep_pb2.ControlSweepResponse(sweep=view_message(view))
