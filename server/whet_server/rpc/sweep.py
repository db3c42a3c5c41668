"""SweepService: unpack, call, pack. Specs may hold twenty thousand cases, so they are unpacked in a thread."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Final

from whet.v1 import sweep_pb2, sweep_pb2_grpc
from whet_server.judging import Item
from whet_server.rpc import calls
from whet_server.rpc.convert.enums import RUN_STATE
from whet_server.rpc.convert.sweep import ACTION, EXPORT_FORMAT, forecast_message, retune_of, spec_of, view_message
from whet_server.rpc.layers import Context
from whet_server.rpc.pages import page_of
from whet_server.rpc.running import Running
from whet_server.sweep.export import ExportFormat, exported
from whet_server.sweep.fold import SweepFold
from whet_server.sweep.report import report_of, still
from whet_server.sweep.report_html import html
from whet_server.sweep.report_markdown import markdown
from whet_server.sweep.sweeps import Sweeps
from whet_server.sweep.views import best_number
from whet_server.sweeping import SweepAction
from whet_server.values import Run, RunId

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

    async def ExportSweep(
        self, request: sweep_pb2.ExportSweepRequest, context: Context
    ) -> sweep_pb2.ExportSweepResponse:
        run, fold = await self._sweeps.fold(calls.principal().workspace, RunId(request.run_id))
        number = request.trial if request.HasField("trial") else best_number(fold)
        file_format = EXPORT_FORMAT.value.get(request.format, ExportFormat.JSON)
        made = await asyncio.to_thread(exported, run, fold, number, file_format)
        return sweep_pb2.ExportSweepResponse(content=made.content, file_name=made.file_name, trial=made.trial)

    async def ReportSweep(
        self, request: sweep_pb2.ReportSweepRequest, context: Context
    ) -> sweep_pb2.ReportSweepResponse:
        workspace = calls.principal().workspace
        run, fold = await self._sweeps.fold(workspace, RunId(request.run_id))
        items = {item.item_id: item for item in await self._sweeps.cases(workspace, fold.record)}
        as_page = request.format == sweep_pb2.REPORT_FORMAT_HTML
        content = await asyncio.to_thread(_reported, run, still(fold), items, as_page=as_page)
        file_name = f"{run.run_id}.{'html' if as_page else 'md'}"
        return sweep_pb2.ReportSweepResponse(content=content, file_name=file_name)


def _reported(run: Run, fold: SweepFold, items: Mapping[str, Item], *, as_page: bool) -> str:
    report = report_of(run, fold, best_number(fold), items, now_ns=time.time_ns())
    return html(report) if as_page else markdown(report)
