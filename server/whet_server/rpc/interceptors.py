"""What every call passes on its way in and out, outermost first: status, activity, span, identity, deadline, decoding,
rules.

Servicers raise `WhetError` and nothing else on purpose; whatever else comes out of them is a bug, which the caller
hears of as INTERNAL with an id that stands beside the traceback in the log.
"""

import asyncio
import functools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, Self, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from whet_server.errors import DeadlineExceeded, MalformedMessage, TooLarge, WhetError
from whet_server.rpc import calls
from whet_server.rpc.calls import Call
from whet_server.rpc.identity import Tokens, authorise, bearer
from whet_server.rpc.layers import Context, Handler, rebuilt
from whet_server.rpc.rules import Rules
from whet_server.rpc.status import status_of
from whet_server.values import new_id

_log = logging.getLogger(__name__)

MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024
"""A prompt of two million characters fits four times; what is larger is refused before it is decoded."""
LARGE: Final = 256 * 1024
"""Bytes of a request whose many parts are checked in a thread: those of the largest one take a tenth of a second."""
UNARY_SECONDS: Final = 60.0
"""A unary call takes no longer, whatever deadline it came with: long work is started and watched."""
SECONDS_OF: Final[Mapping[str, float]] = MappingProxyType(
    {
        "whet.v1.TraceService/VerifyTrace": 600.0,
        "whet.v1.DatasetService/PutDataset": 600.0,
        "whet.v1.DatasetService/SplitDataset": 600.0,
    }
)
"""Unary calls that may take longer: a run with a million events is read twice as fast as that, the largest file
comes over a line of one megabit a second, and its two hundred thousand rows are split in half a minute."""
REQUEST_ID_KEY: Final = "x-request-id"
MAX_REQUEST_ID: Final = 100
"""A longer id in the metadata is not worth its place in every log line."""

_OPEN_SERVICES: Final = frozenset(
    {
        health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name,
    }
)
"""Answer without a token, so that balancers and tools can see whom they talk to."""


def method_name(details: grpc.HandlerCallDetails) -> str:
    """Return the method as `package.Service/Method`."""
    return details.method.lstrip("/")


def is_open(details: grpc.HandlerCallDetails) -> bool:
    return method_name(details).partition("/")[0] in _OPEN_SERVICES


class StatusLayer:
    """Turns whatever a handler raises into a status that says what the caller may know."""

    @asynccontextmanager
    async def around(
        self, details: grpc.HandlerCallDetails, handler: Handler, request: Any, context: Context
    ) -> AsyncGenerator[None, None]:
        metadata = {key: value for key, value in details.invocation_metadata or () if key == REQUEST_ID_KEY}
        given = str(metadata.get(REQUEST_ID_KEY, ""))[:MAX_REQUEST_ID]
        call = Call(method=method_name(details), request_id=given or new_id("req"))
        calls.enter(call)
        trailer = ((REQUEST_ID_KEY, call.request_id),)
        context.set_trailing_metadata(trailer)
        start, outcome = time.perf_counter(), "left by the caller"
        try:
            yield
            outcome = "OK"
        except (grpc.aio.AbortError, GeneratorExit):
            raise
        except WhetError as error:
            outcome = error.reason.value
            await _abort(context, error, trailer)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this call: something it waited for was. Left alone, the caller would wait for ever.
            outcome = "INTERNAL"
            await _abort(context, _bug("a cancellation strayed into the call"), trailer)
        except BaseException:  # noqa: BLE001 -- the top of every call: a bug's words are for the log, not for the caller
            outcome = "INTERNAL"
            await _abort(context, _bug("the call failed"), trailer)
        finally:
            level = logging.DEBUG if is_open(details) else logging.INFO
            _log.log(level, "%s after %.1f ms", outcome, (time.perf_counter() - start) * 1e3)


def _bug(what: str) -> WhetError:
    correlation_id = new_id("err")
    _log.exception("%s; correlation id %s", what, correlation_id)
    return WhetError(
        f"Something went wrong in the server. Its log says more under {correlation_id}.",
        metadata={"correlation_id": correlation_id},
    )


async def _abort(context: Context, error: WhetError, trailer: tuple[tuple[str, str], ...]) -> None:
    status = rpc_status.to_status(status_of(error))
    await context.abort(status.code, status.details, (*trailer, *status.trailing_metadata))


class Malformed:
    """Stands where a request should be that could not be decoded."""

    def __init__(self, error: WhetError) -> None:
        self.error = error


class Messages:
    """The messages of a request stream, each decoded and held to the rules. What is wrong with one is raised where it
    would have stood; a handler that can do without that message may ask for the next one.
    """

    def __init__(self, stream: AsyncIterable[Any], rules: Rules) -> None:
        self._stream = aiter(stream)
        self._rules = rules
        self.latest: Message | None = None
        """The last message that could be decoded, also when it broke a rule."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        message = await anext(self._stream)
        if isinstance(message, Malformed):
            raise message.error
        self.latest = cast("Message", message)
        self._rules.check(self.latest)
        return self.latest


class DecodingInterceptor(grpc.aio.ServerInterceptor):
    """Keeps messages that are too large or malformed from ending a call without a reason.

    A deserialiser that raises ends the call before any layer sees it, so it returns a `Malformed` instead, which is
    refused inside the status layer. The messages of a stream come one by one, and are refused one by one.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        if handler.request_streaming and is_open(handler_call_details):
            return handler
        deserializer = functools.partial(decoded, handler.request_deserializer)
        return rebuilt(handler, self._around, deserializer, lambda stream: Messages(stream, self._rules))

    @asynccontextmanager
    async def _around(self, request: Any, context: Context) -> AsyncGenerator[None, None]:
        if isinstance(request, Malformed):
            raise request.error
        yield


def decoded(deserialize: Callable[[bytes], Any], raw: bytes) -> Any:
    """Decode a request, or return why it cannot be."""
    if len(raw) > MAX_REQUEST_BYTES:
        return Malformed(
            TooLarge(
                f"The request has {len(raw)} bytes; at most {MAX_REQUEST_BYTES} are accepted.",
                metadata={"limit_bytes": str(MAX_REQUEST_BYTES)},
            )
        )
    try:
        return deserialize(raw)
    except (DecodeError, ValueError):
        return Malformed(
            MalformedMessage("The request is no message of this method. Compare the client's proto with the server's.")
        )


class IdentityLayer:
    """Finds out who calls and whether that role may. Health and reflection are open."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    @asynccontextmanager
    async def around(
        self, details: grpc.HandlerCallDetails, handler: Handler, request: Any, context: Context
    ) -> AsyncGenerator[None, None]:
        if not is_open(details):
            principal = self._tokens.principal(bearer(details.invocation_metadata or ()))
            authorise(principal, method_name(details))
            call = calls.current()
            request_id = call.request_id if call else ""
            calls.enter(Call(method=method_name(details), request_id=request_id, principal=principal))
        yield


class DeadlineLayer:
    """Ends unary calls that take too long. Streams have heartbeats instead."""

    def __init__(self, seconds: float = UNARY_SECONDS) -> None:
        self._seconds = seconds

    @asynccontextmanager
    async def around(
        self, details: grpc.HandlerCallDetails, handler: Handler, request: Any, context: Context
    ) -> AsyncGenerator[None, None]:
        if handler.response_streaming:
            yield
            return
        seconds = SECONDS_OF.get(method_name(details), self._seconds)
        try:
            async with asyncio.timeout(seconds) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"The call took longer than {seconds:g} seconds and was given up.") from None


class RulesLayer:
    """Refuses requests that break a rule of the contract."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @asynccontextmanager
    async def around(
        self, details: grpc.HandlerCallDetails, handler: Handler, request: Any, context: Context
    ) -> AsyncGenerator[None, None]:
        if not (is_open(details) or handler.request_streaming):
            if request.ByteSize() > LARGE:
                await asyncio.to_thread(self._rules.check, request)
            else:
                self._rules.check(request)
        yield


class Activity:
    """Counts calls, so that an embedded server knows when nobody needs it any more."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._open = 0
        self._last = clock()

    @property
    def idle_seconds(self) -> float:
        """How long nobody has been calling; 0 while any call is open, health watches included."""
        return 0.0 if self._open else self._clock() - self._last

    @asynccontextmanager
    async def around(
        self, details: grpc.HandlerCallDetails, handler: Handler, request: Any, context: Context
    ) -> AsyncGenerator[None, None]:
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._last = self._clock()
