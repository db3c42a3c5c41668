"""What a call to a model is, apart from how it is made.

`Caller.call` never raises for what a provider does: every outcome is a `CallResult` with all its attempts. It settles
or marks unknown every reservation it made before it returns, also when it is cancelled.
"""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from whet_server.errors import Reason
from whet_server.ledger.prices import Price
from whet_server.llm.keys import BoundKey
from whet_server.log.lifecycle import BranchState
from whet_server.values import (
    Attempt,
    CallId,
    CallLimits,
    Failure,
    Message,
    ModelName,
    Nanos,
    Parameters,
    RunId,
    Totals,
    Usage,
    Value,
    Workspace,
    new_id,
)


class CallSpec(Value):
    """One logical call. `models` is the failover chain, the first one first."""

    workspace: Workspace
    run_id: RunId
    call_id: CallId
    models: tuple[ModelName, ...]
    messages: tuple[Message, ...]
    parameters: Parameters = Parameters()
    limits: CallLimits = CallLimits()
    sample: int = 1
    """Which of several like calls this is: part of the cache's key, so that samples stay independent answers."""
    embeds: bool = False
    """The messages are texts to embed, each by itself; the answer's text is what `llm.embeddings` reads."""
    cache_bypass: bool = False
    cache_ttl: float | None = None
    """Seconds an answer stays fresh; None means the server's default."""
    run_cap: Nanos | None = None
    run_token_cap: int = 0
    """The most tokens, in and out, that the run may use; 0: no cap."""
    deadline: float | None = None
    """Monotonic (event loop) time after which nothing is waited for."""


def entry_id(call_id: CallId) -> str:
    """Return a new id for a ledger entry of this call. It sorts by time and names the call, so that after a crash the
    ledger tells which calls may have been sent.
    """
    return f"{new_id('res')}.{call_id}"


def call_of(reservation_id: str) -> CallId | None:
    """Return the call that a ledger entry's id names; None when the entry is no call's."""
    return CallId(reservation_id.partition(".")[2]) or None


class CallResult(Value):
    """How a call ended: DONE, PARTIAL (half a stream, never an answer), FAILED or CANCELLED."""

    state: BranchState
    model: ModelName
    text: str = ""
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    totals: Totals = Totals()
    latency_ns: int = 0
    first_token_ns: int | None = None
    cached: bool = False
    simulated: bool = False
    finish_reason: str = ""
    made_ns: int | None = None
    """Of a cached answer, how long it took when it was made; None: nobody knows, or it was made now."""
    made_cost: Nanos | None = None
    """Of a cached answer, what making it costs; None: the price is unknown, or it was made now."""

    @property
    def usage(self) -> Usage:
        return self.totals.usage

    @property
    def answer_ns(self) -> int:
        """How long the answer took from its first attempt on: without waiting for a place or for a rate limit, neither
        this server's nor the provider's.
        """
        return answer_ns(self.attempts)


def answer_ns(attempts: Sequence[Attempt]) -> int:
    """Return how long attempts took, in nanoseconds, with the waits between them, but for those for a rate limit."""
    return sum(each.latency_ns + (0 if _limited(each) else each.wait_ns or 0) for each in attempts)


def _limited(attempt: Attempt) -> bool:
    return attempt.failure is not None and attempt.failure.reason == Reason.RATE_LIMITED


class Listener(Protocol):
    """Hears a call while it goes on. Methods return at once, except `attempt_failed`, which may make its event
    durable.
    """

    def progress(
        self, state: BranchState, *, detail: str = "", fraction: float = 0.0, wait: float | None = None
    ) -> None:
        """The call changed its state; `wait` is in seconds."""

    def text(self, piece: str) -> None:
        """The answer grew by `piece`."""

    async def attempt_failed(self, attempt: Attempt) -> None:
        """An attempt failed and another follows."""


class Unheard:
    """Hears nothing: nobody watches the call, and its result says what counts."""

    def progress(
        self, state: BranchState, *, detail: str = "", fraction: float = 0.0, wait: float | None = None
    ) -> None:
        """Nobody sees it."""

    def text(self, piece: str) -> None:
        """Nobody reads it."""

    async def attempt_failed(self, attempt: Attempt) -> None:
        """The result counts attempts."""


class ModelInfo(Value):
    """A model as the registry knows it."""

    name: ModelName
    price: Price | None
    simulated: bool = False
    default_max_tokens: int = 1024
    description: str = ""
    nearby: bool = False
    """Its endpoint is on this machine or a private network, where nobody sends a bill for a model without a price."""
    at_once: int = 0
    """How many calls at once its settings allow; 0: they do not say."""


class Estimate(Value):
    """What a call would cost: `worst` bounds one attempt, None where the model has no price."""

    expected: Nanos | None
    worst: Nanos | None
    cached: bool
    info: ModelInfo


class Caller(Protocol):
    """Calls models. Implemented by `llm.call.ModelCaller`; the twin is `llm.scripted.ScriptedCaller`."""

    async def call(self, spec: CallSpec, listener: Listener, stop: asyncio.Event) -> CallResult:
        """Make the call. When `stop` is set, cut it off: the socket is closed, the money is settled, unknown or
        released as it is, and the result is CANCELLED or PARTIAL. Cancelling the task does the same and then raises
        CancelledError.
        """
        ...

    async def resolve(self, workspace: Workspace, model: ModelName) -> ModelInfo:
        """Return what is known of a model. Raises `EndpointNotFound` or `ModelNotFound`; an OpenAI endpoint accepts
        any model name.
        """
        ...

    async def estimate(self, spec: CallSpec) -> Estimate:
        """Say what the call would cost with its first model."""
        ...


class EndpointKind(StrEnum):
    OPENAI = "openai"
    LOCAL = "local"
    SIM = "sim"


class RateLimits(Value):
    """0 means no limit; for `max_concurrency`, the default of 256."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    max_concurrency: int = 0


class ModelSettings(Value):
    """Settings of one model of an endpoint."""

    model: str
    price: Price | None = None
    limits: RateLimits = RateLimits()
    default_max_tokens: int = 1024


class EndpointSettings(Value):
    """An endpoint as it is configured. `source`: `file`, `rpc`, `environment` or `built-in`."""

    name: str
    kind: EndpointKind = EndpointKind.OPENAI
    base_url: str = ""
    limits: RateLimits = RateLimits()
    models: tuple[ModelSettings, ...] = ()
    call_limits: CallLimits = CallLimits()
    plain_http: bool = False
    """Also talk unencrypted to a host that is neither this machine nor on a private network."""
    source: str = "file"


class Request(Value):
    """One attempt as the transport sees it: everything resolved, nothing to decide. `key` never appears in a repr."""

    base_url: str
    model: str
    messages: tuple[Message, ...]
    parameters: Parameters
    connect: float
    first_token: float
    idle: float
    total: float
    key: BoundKey | None = None
    embeds: bool = False


class Answer(Value):
    """What a transport got when the stream ended as the protocol says. `usage` None: the provider did not say."""

    usage: Usage | None
    finish_reason: str
    model: str = ""


class Sink(Protocol):
    """Hears one attempt."""

    def sent(self) -> None:
        """The request left: from here on it may be billed."""

    def accepted(self, provider_request_id: str, headers: dict[str, str]) -> None:
        """The provider answered with a success status; header names are in lower case."""

    def text(self, piece: str) -> None:
        """Text came. Never empty."""

    def loading(self, fraction: float) -> None:
        """The model is being loaded, 0 to 1."""


class Transport(Protocol):
    """Makes one attempt: `llm.transport` over HTTP, `llm.sim` in this process, `llm.local` through its child's HTTP."""

    async def send(self, request: Request, sink: Sink) -> Answer:
        """Make the attempt. Raises `ProviderFault` for whatever the provider does wrong, within the limits of
        `request`. Cancelling it closes the socket.
        """
        ...

    async def models(self, request: Request) -> Sequence[str]:
        """Return the names of the models there are. Raises `ProviderFault`."""
        ...


class ProviderFault(Exception):
    """One attempt failed. `failure` is what goes on the record; `billed` says whether the provider may have billed
    it, and `usage` what it reported to have used before it failed.
    """

    def __init__(
        self, failure: Failure, *, billed: bool, status: int | None = None, usage: Usage | None = None
    ) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.billed = billed
        self.status = status
        self.usage = usage
