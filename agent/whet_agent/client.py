"""The only gRPC client: a method of the catalogue and a request in, a message or a stream of messages out."""

from collections.abc import AsyncIterator, Mapping

from google.protobuf.message import Message

from whet_agent.catalogue import Method


class CallError(Exception):
    """A call that the server refused or that did not reach it. `str()` is what to show: what was wrong and what to do."""

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
        self.retry_after = retry_after


class Client:
    """A connection with one token. The channel is made in the running loop at the first call."""

    def __init__(self, address: str, token: str) -> None:
        """`address` is `host:port` or `unix:PATH`."""
        raise NotImplementedError

    async def call(self, method: Method, request: Message, *, timeout: float | None = 60.0) -> Message:
        """Make a unary call. Raises `CallError`."""
        raise NotImplementedError

    def stream(self, method: Method, request: Message, *, timeout: float | None = None) -> AsyncIterator[Message]:
        """Make a streaming call. Leaving the iteration early cancels the call (not the run). Raises `CallError`."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError
