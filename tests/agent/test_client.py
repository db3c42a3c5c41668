import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status
from opentelemetry import trace

from whet.v1 import event_pb2, fanout_pb2
from whet_agent.catalogue import Method, methods, request_from
from whet_agent.client import CallError, Client

GET, RUN, CANCEL, LIST = (
    next(method for method in methods() if method.name == name)
    for name in ("GetFanout", "RunFanout", "CancelFanout", "ListFanouts")
)


@dataclass
class Server:
    """Answers GetFanout, streams RunFanout without end, refuses CancelFanout and knows nothing else."""

    metadata: dict[str, str] = field(default_factory=dict)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def get(self, request: fanout_pb2.GetFanoutRequest, context: Any) -> fanout_pb2.GetFanoutResponse:
        self.metadata = {key: str(value) for key, value in context.invocation_metadata()}
        return fanout_pb2.GetFanoutResponse(fanout=fanout_pb2.Fanout(run_id=request.run_id))

    async def run(
        self, request: fanout_pb2.RunFanoutRequest, context: Any
    ) -> AsyncIterator[fanout_pb2.RunFanoutResponse]:
        try:
            for number in itertools.count():
                yield fanout_pb2.RunFanoutResponse(batch=event_pb2.EventBatch(next_cursor=str(number)))
                await asyncio.sleep(0)
        finally:
            self.left.set()

    async def cancel(self, request: fanout_pb2.CancelFanoutRequest, context: Any) -> fanout_pb2.CancelFanoutResponse:
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason="INVALID_FIELD", domain="whet", metadata={"field": "run_id"}),
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field="run_id", description="is required")
                ]
            ),
            error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000)),
        ]
        status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="run_id: is required")
        for detail in details:
            status.details.add().Pack(detail)
        await context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError("unreachable")

    def handlers(self) -> grpc.GenericRpcHandler:
        kinds: dict[Method, tuple[Any, Any]] = {
            GET: (grpc.unary_unary_rpc_method_handler, self.get),
            RUN: (grpc.unary_stream_rpc_method_handler, self.run),
            CANCEL: (grpc.unary_unary_rpc_method_handler, self.cancel),
        }
        return grpc.method_handlers_generic_handler(
            GET.service,
            {
                method.name: kind(behaviour, method.request.FromString, method.response.SerializeToString)
                for method, (kind, behaviour) in kinds.items()
            },
        )


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[tuple[Server, str]]:
    server, servicer = aio.server(), Server()
    server.add_generic_rpc_handlers((servicer.handlers(),))
    address = f"unix:{tmp_path}/s"
    server.add_insecure_port(address)
    await server.start()
    try:
        yield servicer, address
    finally:
        await server.stop(None)


@asynccontextmanager
async def client(address: str) -> AsyncIterator[Client]:
    made = Client(address, "t0ken")
    try:
        yield made
    finally:
        await made.close()


async def refused(address: str, method: Method, timeout: float = 5.0) -> CallError:
    async with client(address) as calling:
        with pytest.raises(CallError) as caught:
            await calling.call(method, method.request(), timeout=timeout)
    return caught.value


async def test_a_call_carries_the_token_and_the_trace(tmp_path: Path) -> None:
    context = trace.SpanContext(trace_id=7, span_id=9, is_remote=False, trace_flags=trace.TraceFlags(1))
    async with serving(tmp_path) as (server, address), client(address) as calling:
        with trace.use_span(trace.NonRecordingSpan(context)):
            answer = await calling.call(GET, request_from(GET, {"run_id": "fan_1"}))
    assert isinstance(answer, fanout_pb2.GetFanoutResponse)
    assert answer.fanout.run_id == "fan_1"
    assert server.metadata["authorization"] == "Bearer t0ken"
    assert server.metadata["traceparent"].split("-")[1] == f"{7:032x}"


async def test_a_rich_error_keeps_every_detail(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, address):
        error = await refused(address, CANCEL)
    assert (str(error), error.code, error.reason) == ("run_id: is required", "INVALID_ARGUMENT", "INVALID_FIELD")
    assert error.metadata == {"field": "run_id"}
    assert error.violations == (("run_id", "is required"),)
    assert error.retry_after == 1.5


async def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    error = await refused(f"unix:{tmp_path}/nobody", GET)
    assert error.code == "UNAVAILABLE"
    assert not error.reason
    assert f"{tmp_path}/nobody" in str(error)


async def test_a_call_that_the_server_does_not_know_says_that_it_is_older(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, address):
        error = await refused(address, LIST)
    assert error.code == "UNIMPLEMENTED"


async def test_leaving_a_stream_cancels_the_call(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, address), client(address) as calling:
        async with aclosing(calling.stream(RUN, RUN.request())) as batches:
            seen = [batch async for batch in _first(batches, 3)]
        async with asyncio.timeout(5):
            await server.left.wait()
    assert len(seen) == 3


async def test_a_stream_past_its_deadline_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, address), client(address) as calling:
        with pytest.raises(CallError) as caught:
            async for _ in calling.stream(RUN, RUN.request(), timeout=0.05):
                pass
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_one_client_serves_one_loop_after_the_other(tmp_path: Path) -> None:
    calling = Client("", "t")

    async def once(number: int) -> None:
        async with serving(tmp_path) as (_, address):
            calling.address = address
            answer = await calling.call(GET, request_from(GET, {"run_id": str(number)}))
            assert isinstance(answer, fanout_pb2.GetFanoutResponse)
            assert answer.fanout.run_id == str(number)
            await calling.close()

    for number in range(2):
        asyncio.run(once(number))


async def _first(batches: AsyncIterator[object], count: int) -> AsyncIterator[object]:
    for _ in range(count):
        yield await anext(batches)
