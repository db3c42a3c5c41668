"""How bytes travel to a provider: the one module that knows aiohttp.

One session serves every endpoint. It follows no redirect, keeps no cookie, reads no proxy from the environment and
retries nothing: whatever goes wrong is told once, as a `ProviderFault`.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from msgspec import structs
from opentelemetry import propagate, trace
from yarl import URL

from whet_server.errors import Reason
from whet_server.llm.base import Answer, ProviderFault, Request, Sink
from whet_server.llm.completions import Reply, body_of, model_names
from whet_server.llm.dialect import dialect_of
from whet_server.llm.embeddings import body_of_texts
from whet_server.llm.keys import WrongOrigin
from whet_server.llm.sse import EventReader, EventTooLarge
from whet_server.llm.taxonomy import excerpt, failure, failure_of_status
from whet_server.llm.watchdog import REFUSAL_SECONDS, TAIL_SECONDS, USAGE_SECONDS, Watchdog
from whet_server.values import Failure

MAX_BODY: Final = 64 << 20
"""Bytes of an answer's body, after decompression: a token costs some 250 bytes on the wire, so this is room for longer
answers than models give, and little enough to be read before anybody minds."""
MAX_REFUSAL: Final = 64 << 10
"""Bytes of an error's body that are read; what matters stands at its beginning."""
KEEP_ALIVE: Final = 15.0
"""Seconds an idle connection is kept: below what servers and balancers commonly allow, so that we close first."""
DNS_SECONDS: Final = 60
CLOSES_STREAMS: Final = frozenset({"llama.cpp"})
"""Servers that promise to keep a connection and close it after every stream: the next request on it would be lost."""
REQUEST_ID_HEADERS: Final = ("x-request-id", "request-id", "apim-request-id", "x-ms-request-id")
_HEADERS: Final = {
    "content-type": "application/json",
    "accept": "text/event-stream",
    "accept-encoding": "identity",
    "user-agent": "whet",
}
_NO_LIMITS: Final = aiohttp.ClientTimeout(total=None)
"""aiohttp's own timers are off: ours are lazier and tell the limits apart."""
_WRITE: Final = 64 << 10
"""Bytes written at once, so that a prompt of megabytes does not hold up the loop."""
_SAID: Final = {
    Reason.CONNECT_TIMEOUT: "The provider did not accept the connection in time.",
    Reason.FIRST_TOKEN_TIMEOUT: "The first token did not come in time.",
    Reason.IDLE_TIMEOUT: "The stream fell silent for too long.",
    Reason.TOTAL_TIMEOUT: "The call took too long.",
}


class HttpTransport:
    """Makes attempts over HTTP. `close` it when the server stops."""

    def __init__(self, *, max_body: int = MAX_BODY) -> None:
        self._max_body = max_body
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request, sink: Sink) -> Answer:
        """Stream one answer, or ask for vectors. Raises `ProviderFault`; cancelling it closes the socket."""
        dialect = dialect_of(request.base_url)
        exchange = _Exchange(request, sink, self._max_body)
        if request.embeds:
            texts = _Body(body_of_texts(request), exchange.sent)
            await self._make(exchange, "POST", dialect.embeddings_url, texts, exchange.read_vectors)
            return exchange.reply.finish()
        body = _Body(body_of(request, dialect.limit_field), exchange.sent)
        await self._make(exchange, "POST", dialect.chat_url, body, exchange.read_answer)
        return exchange.reply.finish()

    async def models(self, request: Request) -> Sequence[str]:
        """Ask for the names of the models there are. Raises `ProviderFault`."""
        exchange = _Exchange(request, None, self._max_body)
        await self._make(exchange, "GET", dialect_of(request.base_url).models_url, None, exchange.read_names)
        return exchange.names

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _make(
        self,
        exchange: "_Exchange",
        method: str,
        url: str,
        body: "_Body | None",
        read: Callable[[aiohttp.ClientResponse], Awaitable[None]],
    ) -> None:
        """Make one request under its limits of time; whatever goes wrong is told as a fault."""
        request = exchange.request
        try:
            headers = _headers(request)
            async with asyncio.timeout(None) as scope:
                dog = exchange.watch(scope)
                try:
                    response = await self._open().request(
                        method,
                        URL(url, encoded=True),
                        data=body,
                        headers=headers,
                        allow_redirects=False,
                        timeout=_NO_LIMITS,
                    )
                    _keep_or_not(response)
                    try:
                        await read(response)
                    finally:
                        response.close()
                finally:
                    dog.stop()
        except TimeoutError:
            fault = exchange.expired()
        except (aiohttp.ClientError, OSError) as error:
            fault = exchange.broken(error)
        except ProviderFault as error:
            fault = error
        else:
            return
        if not exchange.whole:
            raise _without_key(fault, request)

    def _open(self) -> aiohttp.ClientSession:
        """Return the session, made on first use because it belongs to the running loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE, ttl_dns_cache=DNS_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, timeout=_NO_LIMITS
            )
        return self._session


class _Body(aiohttp.Payload):
    """A request's body that tells when it leaves: before that nothing can be billed, after it everything can."""

    def __init__(self, body: bytes, leaves: Callable[[], None]) -> None:
        super().__init__(body, content_type="application/json")
        self._size = len(body)
        self._leaves = leaves

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        text: str = self._value.decode(encoding, errors)
        return text

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._leaves()
        body: bytes = self._value
        if len(body) <= _WRITE:
            await writer.write(body)
            return
        for start in range(0, len(body), _WRITE):
            await writer.write(body[start : start + _WRITE])


class _Exchange:
    """One request and what comes back."""

    def __init__(self, request: Request, sink: Sink | None, max_body: int) -> None:
        self.request = request
        self.reply = Reply()
        self.names: list[str] = []
        self._sink = sink
        self._max_body = max_body
        self._dog: Watchdog | None = None
        self._sent = False
        self._refusal: tuple[int, dict[str, str]] | None = None
        self._body = bytearray()

    @property
    def dog(self) -> Watchdog:
        if self._dog is None:
            raise RuntimeError("an exchange is watched from its beginning")
        return self._dog

    def watch(self, scope: asyncio.Timeout) -> Watchdog:
        self._dog = Watchdog(self.request, scope)
        return self._dog

    @property
    def whole(self) -> bool:
        """The answer was announced to be whole: what went wrong after that took nothing away from it."""
        return self.reply.complete and self.reply.broken is None and self._refusal is None

    def sent(self) -> None:
        """The body leaves."""
        self._sent = True
        self.dog.sent(self.request.first_token)
        if self._sink is not None:
            self._sink.sent()

    async def read_answer(self, response: aiohttp.ClientResponse) -> None:
        """Read the answer to a chat completion."""
        headers = _lower(response)
        if response.status != 200:
            await self._read_refusal(response, headers)
        if self._sink is not None:
            self._sink.accepted(_request_id(headers), headers)
        if response.content_type == "text/event-stream":
            await self._read_stream(response.content)
            return
        await self._read_body(response.content, self._max_body)
        if response.content_type != "application/json":
            shown = excerpt(self._body[:MAX_REFUSAL].decode(errors="replace"))
            what = f"The provider answered with {excerpt(response.content_type)} instead of an event stream: {shown}"
            raise self._fault(failure(Reason.PROTOCOL_VIOLATION, what))
        self._hear(self.reply.whole(bytes(self._body)))

    async def read_vectors(self, response: aiohttp.ClientResponse) -> None:
        """Read the answer to a question for embeddings."""
        headers = _lower(response)
        if response.status != 200:
            await self._read_refusal(response, headers)
        if self._sink is not None:
            self._sink.accepted(_request_id(headers), headers)
        await self._read_body(response.content, self._max_body)
        self._hear(self.reply.vectors(bytes(self._body), len(self.request.messages)))

    async def read_names(self, response: aiohttp.ClientResponse) -> None:
        """Read the answer to a question for models."""
        if response.status != 200:
            await self._read_refusal(response, _lower(response))
        await self._read_body(response.content, self._max_body)
        self.names = model_names(bytes(self._body))

    def expired(self) -> ProviderFault:
        """Return what it means that a limit of time is over."""
        if self._refusal is not None:
            return self._refused(*self._refusal)
        reason = self.dog.reason
        return self._fault(failure(reason, _SAID[reason]))

    def broken(self, error: Exception) -> ProviderFault:
        """Return what a broken connection means."""
        if self._refusal is not None:
            return self._refused(*self._refusal)
        said = _said(error)
        if isinstance(error, aiohttp.ClientResponseError):
            return self._fault(failure(Reason.PROTOCOL_VIOLATION, f"The provider does not speak HTTP: {said}"))
        if not self._sent:
            told = f"The provider cannot be reached: {said}. Is the base URL right, and is it running?"
            return self._fault(failure(Reason.PROVIDER_UNREACHABLE, told))
        return self._fault(failure(Reason.STREAM_CUT, f"The connection broke before the answer was whole: {said}"))

    async def _read_stream(self, content: aiohttp.StreamReader) -> None:
        """Read events until the end is announced. This loop is the hot path: it runs once for every chunk."""
        reader, reply, dog = EventReader(), self.reply, self.dog
        size = 0
        try:
            while not reply.done and (chunk := await content.readany()):
                size += len(chunk)
                if size > self._max_body:
                    raise self._too_large()
                self._hear(reply.take(reader.feed(chunk)))
                if reply.alive:
                    dog.beat()
                elif reply.finish_reason:
                    dog.hurry(USAGE_SECONDS)
        except EventTooLarge as error:
            raise self._fault(failure(Reason.ANSWER_TOO_LARGE, f"The answer cannot be read: {error}.")) from None
        if not reply.done:
            self._end(reader)
        dog.hurry(TAIL_SECONDS)
        while await content.readany():
            pass

    def _end(self, reader: EventReader) -> None:
        """Take in what stands behind the last blank line. Half an event there is a cut, not a violation."""
        rest = self.reply.take(reader.end())
        if self.reply.broken is None:
            self._hear(rest)
        self.reply.broken = None
        if not self.reply.complete:
            raise self._fault(failure(Reason.STREAM_CUT, "The stream ended before its end was announced."))

    def _hear(self, text: str) -> None:
        if text and self._sink is not None:
            self._sink.text(text)
        if self.reply.broken is not None:
            raise self.reply.broken

    async def _read_body(self, content: aiohttp.StreamReader, limit: int) -> None:
        while chunk := await content.readany():
            self._body += chunk
            if len(self._body) > limit:
                raise self._too_large()

    async def _read_refusal(self, response: aiohttp.ClientResponse, headers: dict[str, str]) -> None:
        """Read the body of another status than 200 and raise what it means, also when the body does not end."""
        self._refusal = (response.status, headers)
        self.dog.hurry(REFUSAL_SECONDS)
        content = response.content
        while len(self._body) < MAX_REFUSAL and (chunk := await content.readany()):
            self._body += chunk
        raise self._refused(response.status, headers)

    def _refused(self, status: int, headers: dict[str, str]) -> ProviderFault:
        told = failure_of_status(status, headers, bytes(self._body[:MAX_REFUSAL]), now=time.time())
        if request_id := _request_id(headers):
            told = structs.replace(told, metadata=told.metadata | {"provider_request_id": request_id})
        return ProviderFault(told, billed=self._sent and not 300 <= status < 500, status=status)

    def _too_large(self) -> ProviderFault:
        said = f"The answer has more than {self._max_body >> 20} MB."
        return self._fault(failure(Reason.ANSWER_TOO_LARGE, said))

    def _fault(self, told: Failure) -> ProviderFault:
        """Return a fault of this exchange; billed from the moment the body left."""
        return ProviderFault(told, billed=self._sent)


def _said(error: Exception) -> str:
    """Return what went wrong with a connection in the system's words, which say more than the library's."""
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        why = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else excerpt(cause.strerror or str(cause))
        return f"{error.host}:{error.port}: {why}"
    return excerpt(str(error)) or type(error).__name__


def _headers(request: Request) -> dict[str, str]:
    """Return a request's headers. Raises `ProviderFault` when the key belongs to another origin."""
    dialect = dialect_of(request.base_url)
    headers = _HEADERS | dict(dialect.fixed_headers)
    if request.key is not None:
        try:
            secret = request.key.reveal(dialect.origin)
        except WrongOrigin as error:
            told = failure(Reason.KEY_REFUSED, f"{str(error).capitalize()}: store the key for this URL.")
            raise ProviderFault(told, billed=False) from None
        headers |= {name: before + secret for name, before in dialect.key_headers}
    if trace.get_current_span().get_span_context().is_valid:
        propagate.inject(headers)
    return headers


def _keep_or_not(response: aiohttp.ClientResponse) -> None:
    """Keep the connection out of the pool where the server is known to close it unannounced."""
    connection = response.connection
    if connection is not None and connection.protocol is not None and response.headers.get("server") in CLOSES_STREAMS:
        connection.protocol.force_close()


def _lower(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _request_id(headers: dict[str, str]) -> str:
    return next((excerpt(headers[name]) for name in REQUEST_ID_HEADERS if name in headers), "")


def _without_key(fault: ProviderFault, request: Request) -> ProviderFault:
    """Take the key out of a provider's words: some repeat it in full when they refuse it."""
    if request.key is None:
        return fault
    secret = request.key.reveal(request.key.origin)
    if secret and secret in fault.failure.message:
        message = fault.failure.message.replace(secret, "***")
        fault.failure = structs.replace(fault.failure, message=message)
    return fault
