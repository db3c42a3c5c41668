"""TraceService: unpack, call, pack."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from whet.v1 import trace_pb2, trace_pb2_grpc
from whet_server.rpc import calls
from whet_server.rpc.convert.enums import RUN_KIND, RUN_STATE
from whet_server.rpc.convert.events import fill_events
from whet_server.rpc.convert.trace import trace_message, verification_message
from whet_server.rpc.layers import Context
from whet_server.rpc.life import Life
from whet_server.rpc.pages import page_of
from whet_server.trace.traces import Traces
from whet_server.values import RunId


class TraceServicer(trace_pb2_grpc.TraceServiceServicer):
    """The runs of the workspace that calls."""

    def __init__(self, traces: Traces, life: Life) -> None:
        self._traces = traces
        self._life = life

    async def ListTraces(self, request: trace_pb2.ListTracesRequest, context: Context) -> trace_pb2.ListTracesResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "traces", workspace, request.kind, request.state)
        runs = await self._traces.list(
            workspace,
            kind=RUN_KIND.value.get(request.kind),
            state=RUN_STATE.value.get(request.state),
            before=RunId(page.before) if page.before else None,
            limit=page.limit,
        )
        shown, token = page.cut(runs, lambda run: run.run_id)
        return trace_pb2.ListTracesResponse(traces=[trace_message(run) for run in shown], next_page_token=token)

    async def GetTrace(self, request: trace_pb2.GetTraceRequest, context: Context) -> trace_pb2.GetTraceResponse:
        found = await self._traces.get(
            calls.principal().workspace,
            RunId(request.run_id),
            after=request.after_sequence,
            limit=request.max_events,
        )
        response = trace_pb2.GetTraceResponse(trace=trace_message(found.run), more=found.more)
        fill_events(response.events.add, found.events)
        return response

    async def WatchTrace(
        self, request: trace_pb2.WatchTraceRequest, context: Context
    ) -> AsyncGenerator[trace_pb2.WatchTraceResponse, None]:
        workspace, run_id = calls.principal().workspace, RunId(request.run_id)
        watch = self._life.follow(lambda cursor: self._traces.watch(workspace, run_id, cursor), request.cursor)
        async with aclosing(watch) as batches:
            async for batch in batches:
                yield trace_pb2.WatchTraceResponse(batch=batch)

    async def ExportTrace(
        self, request: trace_pb2.ExportTraceRequest, context: Context
    ) -> AsyncGenerator[trace_pb2.ExportTraceResponse, None]:
        async for lines in self._traces.export(calls.principal().workspace, RunId(request.run_id)):
            yield trace_pb2.ExportTraceResponse(lines=lines)

    async def VerifyTrace(
        self, request: trace_pb2.VerifyTraceRequest, context: Context
    ) -> trace_pb2.VerifyTraceResponse:
        found = await self._traces.verify(calls.principal().workspace, RunId(request.run_id), request.expected_hash)
        return verification_message(found)
