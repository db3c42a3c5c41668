"""The only gRPC client: a method of the catalogue and a request in, a message or a stream of messages out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from whet_agent.arguments import BadArguments
from whet_agent.catalogue import Method
from whet_agent.upload import Progress, messages

_MEBIBYTE: Final = 1024 * 1024
_RECEIVE_BYTES: Final = 32 * _MEBIBYTE
"""A fan-out with hundreds of long branches comes back in one answer; gRPC's own limit of 4 MiB would cut it off."""
_SEND_BYTES: Final = 32 * _MEBIBYTE
"""The server says better than the channel what is too large."""
_KEEPALIVE_MS: Final = 30_000
"""A connection that died without a word is found after this and the time-out below, not after hours."""
_KEEPALIVE_TIMEOUT_MS: Final = 10_000
_READY_SECONDS: Final = 5.0
"""A channel that failed waits for up to two seconds before it tries again."""
_UPLOAD_SECONDS: Final = 600.0
"""The largest file over a line of one megabit a second; the server waits as long."""
_STATUS_KEY: Final = "grpc-status-details-bin"
_DOMAIN: Final = "whet"
_TRACER: Final = trace.get_tracer("whet_agent")
_PROPAGATOR: Final = TraceContextTextMapPropagator()

_StreamCall: TypeAlias = "aio.UnaryStreamCall[Message, Message]"

Restore: TypeAlias = Callable[[], Awaitable[str]]
"""Brings a server back that is gone and returns its address, or nothing when that cannot be done."""

CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _RECEIVE_BYTES),
    ("grpc.max_send_message_length", _SEND_BYTES),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
    # Else channels share a back-off: the first probe of a server that starts would slow down all others.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A proxy in the environment is for the network, not for a server on this machine or a private one.
    ("grpc.enable_http_proxy", 0),
)


class CallError(Exception):
    """A call that the server refused or that did not reach it. `str()` says what was wrong and what to do."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: tuple[tuple[str, str], ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        """The gRPC code's name, such as `INVALID_ARGUMENT`."""
        self.reason = reason
        """The published reason, such as `CAP_EXCEEDED`; empty when the answer was not the server's."""
        self.metadata = dict(metadata or {})
        self.violations = violations
        """(field path, description) pairs of an INVALID_ARGUMENT."""
        self.retry_after = retry_after
        """Seconds after which the same call may work; None where the server does not promise that."""


class Client:
    """A connection with one token. The channel is made in the running loop at the first call."""

    def __init__(self, address: str, token: str, *, restore: Restore | None = None) -> None:
        """`address` is `host:port` or `unix:PATH`. `restore` is asked for help when nobody answers there."""
        self.address = address
        self._token = token
        self._restore = restore
        self._channels: dict[asyncio.AbstractEventLoop, aio.Channel] = {}

    async def call(self, method: Method, request: Message, *, timeout: float | None = 60.0) -> Message:
        """Make a unary call; once more when nobody answered and the server was brought back. Raises `CallError`."""
        try:
            return await self._call(method, request, timeout)
        except CallError as error:
            if not (_nobody(error) and await self._restored()):
                raise
            return await self._call(method, request, timeout)

    async def upload(self, method: Method, request: Message, progress: Progress) -> Message:
        """Make a call that sends a file, as `call` does, and say how much has been handed over."""
        return await self._call(method, request, _UPLOAD_SECONDS, progress)

    async def _call(
        self, method: Method, request: Message, timeout: float | None, progress: Progress | None = None
    ) -> Message:
        with self._span(method) as metadata:
            call: Awaitable[Message]
            if method.is_upload:
                send = self._channel().stream_unary(method.path, _encode, method.response.FromString)
                call = send(_messages(request, progress), timeout=_UPLOAD_SECONDS, metadata=metadata)
            else:
                invoke = self._channel().unary_unary(method.path, _encode, method.response.FromString)
                call = invoke(request, timeout=timeout, metadata=metadata)
            try:
                return await call
            except aio.AioRpcError as error:
                raise _call_error(error, self.address) from error

    async def stream(
        self, method: Method, request: Message, *, timeout: float | None = None
    ) -> AsyncGenerator[Message, None]:
        """Make a streaming call. Leaving the iteration early cancels the call (not the run). Raises `CallError`, after
        bringing the server back if nobody answered: the same call can be made again then.

        Whoever leaves early and goes on in the same task should hold the stream in `contextlib.aclosing`.
        """
        span, metadata = self._start_span(method)
        invoke = self._channel().unary_stream(
            method.path, request_serializer=_encode, response_deserializer=method.response.FromString
        )
        call: _StreamCall = invoke(request, timeout=timeout, metadata=metadata)
        try:
            async for message in call:
                yield message
        except aio.AioRpcError as error:
            told = _call_error(error, self.address)
            if _nobody(told):
                await self._restored()
            raise told from error
        finally:
            # gRPC lets an abandoned stream run on; a finished one does not mind.
            call.cancel()
            span.end()

    async def _restored(self) -> bool:
        """Have the server brought back; return whether the channel reaches it again."""
        address = await self._restore() if self._restore is not None else ""
        if not address:
            return False
        if address != self.address:
            self.address = address
            await self.close()
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._channel().channel_ready()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Close the channel of the running loop; a later call opens another."""
        channel = self._channels.pop(asyncio.get_running_loop(), None)
        if channel is not None:
            await channel.close()

    def _channel(self) -> aio.Channel:
        loop = asyncio.get_running_loop()
        if loop not in self._channels:
            self._channels = {known: channel for known, channel in self._channels.items() if not known.is_closed()}
            self._channels[loop] = aio.insecure_channel(self.address, options=CHANNEL_OPTIONS)
        return self._channels[loop]

    @contextmanager
    def _span(self, method: Method) -> Iterator[aio.Metadata]:
        span, metadata = self._start_span(method)
        with trace.use_span(span, end_on_exit=True):
            yield metadata

    def _start_span(self, method: Method) -> tuple[trace.Span, aio.Metadata]:
        """A stream's span is never made current: its generator may be resumed under another context."""
        span = _TRACER.start_span(method.path.removeprefix("/"), kind=trace.SpanKind.CLIENT)
        carrier: dict[str, str] = {"authorization": f"Bearer {self._token}"} if self._token else {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
        return span, aio.Metadata(*carrier.items())


def _messages(request: Message, progress: Progress | None) -> AsyncIterator[Message]:
    try:
        return messages(request, progress)
    except BadArguments as error:
        raise CallError(str(error), code="INVALID_ARGUMENT") from None


def _encode(message: Message) -> bytes:
    return message.SerializeToString()


def _nobody(error: CallError) -> bool:
    """Whether the connection failed, rather than the server refused."""
    return error.code == "UNAVAILABLE" and not error.reason


def _call_error(error: aio.AioRpcError, address: str) -> CallError:
    code = error.code().name
    status = _rich_status(error)
    if status is None:
        return CallError(_plain_text(error, address), code=code)
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    wait = None
    for detail in status.details:
        if detail.Unpack(retry):
            wait = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        elif not detail.Unpack(info):
            detail.Unpack(bad)
    return CallError(
        status.message or _plain_text(error, address),
        code=code,
        reason=info.reason if info.domain == _DOMAIN else "",
        metadata=info.metadata,
        violations=tuple((violation.field, violation.description) for violation in bad.field_violations),
        retry_after=wait,
    )


def _rich_status(error: aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == _STATUS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _plain_text(error: aio.AioRpcError, address: str) -> str:
    """Name what happened where the answer is not our server's: gRPC's own texts speak of sockets and frames."""
    details = error.details() or "no reason was given"
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return f"The server at {address} cannot be reached ({details}). Check that it runs: whet status."
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"The server at {address} did not answer in time. Try again, or look into its log."
        case grpc.StatusCode.UNIMPLEMENTED:
            return f"The server at {address} does not know this call: it is older than this client. Restart it."
        case grpc.StatusCode.CANCELLED:
            return "The call was cancelled."
        case code:
            return f"{code.name}: {details}"
