import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
import pytest
from tests.server.rpc.conftest import refused

from whet_server.errors import RunNotFound
from whet_server.rpc.interceptors import Activity, DeadlineLayer, DecodingInterceptor, StatusLayer
from whet_server.rpc.layers import LayerInterceptor
from whet_server.rpc.rules import Rules

Handler: TypeAlias = Any
PATIENCE = 10.0
SECRET = "the prompt said: my key is sk-123"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@asynccontextmanager
async def answering(
    activity: Activity | None = None, **handlers: Handler
) -> AsyncGenerator[Callable[[str], Any], None]:
    """Serve handlers of plain bytes behind our layers; yield how to call one by its name."""
    server = grpc.aio.server(
        interceptors=[
            LayerInterceptor(StatusLayer()),
            *([LayerInterceptor(activity)] if activity else []),
            DecodingInterceptor(Rules([])),
            LayerInterceptor(DeadlineLayer(seconds=0.2)),
        ]
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

            def call(name: str) -> Any:
                handler = handlers[name]
                arity = ("stream" if handler.request_streaming else "unary") + "_"
                arity += "stream" if handler.response_streaming else "unary"
                return getattr(channel, arity)(f"/t.T/{name}")

            yield call
    finally:
        await server.stop(0)


def unary(function: Handler) -> Handler:
    return grpc.unary_unary_rpc_method_handler(function, request_deserializer=bytes)


def stream(function: Handler) -> Handler:
    return grpc.unary_stream_rpc_method_handler(function, request_deserializer=bytes)


async def drained(call: Any) -> list[bytes]:
    return [message async for message in call]


async def fails(request: bytes, context: object) -> bytes:
    raise ValueError(SECRET)


async def fails_in_the_middle(request: bytes, context: object) -> AsyncIterator[bytes]:
    yield b"one"
    raise ValueError(SECRET)


async def refuses_in_the_middle(request: bytes, context: object) -> AsyncIterator[bytes]:
    yield b"one"
    raise RunNotFound("There is no run x.", metadata={"run_id": "x"})


async def strays(request: bytes, context: object) -> bytes:
    raise asyncio.CancelledError


async def sleeps(request: bytes, context: object) -> bytes:
    await asyncio.sleep(60)
    return b""


async def test_an_exceptions_words_stay_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with answering(Unary=unary(fails), Stream=stream(fails_in_the_middle)) as call:
        async with refused() as said:
            await call("Unary")(b"")
        async with refused() as also_said:
            await drained(call("Stream")(b""))
    for told in (*said, *also_said):
        assert (told.code, told.reason) == ("INTERNAL", "INTERNAL")
        assert "sk-123" not in str(told)
        assert "ValueError" not in str(told)
        assert told.metadata["correlation_id"] in told.message
        assert told.metadata["correlation_id"] in caplog.text
    assert SECRET in caplog.text


async def test_what_came_before_a_refusal_arrives_and_then_the_refusal() -> None:
    async with answering(Stream=stream(refuses_in_the_middle)) as call:
        answer = call("Stream")(b"")
        assert await answer.read() == b"one"
        async with refused() as said:
            await answer.read()
    assert (said[0].code, said[0].reason, said[0].metadata) == ("NOT_FOUND", "RUN_NOT_FOUND", {"run_id": "x"})


async def test_a_stray_cancellation_does_not_leave_the_client_waiting() -> None:
    async with answering(Unary=unary(strays)) as call, refused() as said:
        await call("Unary")(b"", timeout=PATIENCE)
    assert said[0].code == "INTERNAL"


async def test_a_unary_call_ends_at_its_limit_with_a_reason() -> None:
    async with answering(Unary=unary(sleeps)) as call, refused() as said:
        await call("Unary")(b"", timeout=PATIENCE)
    assert (said[0].code, said[0].reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")


async def test_a_clients_own_deadline_reaches_the_handler() -> None:
    ended = asyncio.Event()

    async def notices(request: bytes, context: object) -> bytes:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return b""

    async with answering(Unary=unary(notices)) as call:
        async with refused() as said:
            await call("Unary")(b"", timeout=0.05)
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
    assert said[0].code == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("parked", ["awaiting", "yielding"])
async def test_a_stream_that_its_client_leaves_is_closed_inside_too(parked: str) -> None:
    ended = asyncio.Event()

    async def inner() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            if parked == "awaiting":
                await asyncio.sleep(60)
            while True:
                yield b"x" * 1_000_000
        finally:
            ended.set()

    async def outer(request: bytes, context: object) -> AsyncIterator[bytes]:
        source = inner()
        try:
            async for message in source:
                yield message
        finally:
            await source.aclose()  # type: ignore[attr-defined]

    async with answering(Stream=stream(outer)) as call:
        answer = call("Stream")(b"")
        assert await answer.read() == b"one"
        answer.cancel()
        async with asyncio.timeout(PATIENCE):
            await ended.wait()


async def test_a_stream_that_writes_by_itself_passes_through_the_layers() -> None:
    async def writes(request: bytes, context: Any) -> None:
        await context.write(b"one")
        await context.write(b"two")

    async with answering(Stream=stream(writes)) as call:
        assert await drained(call("Stream")(b"")) == [b"one", b"two"]


async def test_streamed_requests_pass_through_the_layers() -> None:
    async def echoes(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def joins(requests: AsyncIterator[bytes], context: object) -> bytes:
        return b"".join([request async for request in requests])

    both: Handler = grpc.stream_stream_rpc_method_handler(echoes)
    one: Handler = grpc.stream_unary_rpc_method_handler(joins)
    async with answering(Both=both, One=one) as call:
        assert await drained(call("Both")(iter([b"a", b"b"]))) == [b"a", b"b"]
        assert await call("One")(iter([b"a", b"b"])) == b"ab"


async def test_nobody_is_idle_while_a_stream_is_open() -> None:
    opened, release = asyncio.Event(), asyncio.Event()

    async def waits(request: bytes, context: object) -> AsyncIterator[bytes]:
        opened.set()
        await release.wait()
        yield b"done"

    CLOCK.now = 100.0
    activity = Activity(clock=CLOCK)
    async with answering(activity, Stream=stream(waits)) as call:
        CLOCK.now = 110.0
        assert activity.idle_seconds == 10.0
        answer = call("Stream")(b"")
        async with asyncio.timeout(PATIENCE):
            await opened.wait()
        CLOCK.now = 500.0
        assert activity.idle_seconds == 0.0
        release.set()
        assert await drained(answer) == [b"done"]
    CLOCK.now = 505.0
    assert activity.idle_seconds == 5.0
