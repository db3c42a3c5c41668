"""One attempt: money reserved, one request sent, money settled, and a line on the record, whatever happens."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry import trace

from whet_server.errors import Reason
from whet_server.ledger.ledger import Ledger
from whet_server.llm.base import Answer, CallSpec, EndpointKind, Listener, ProviderFault, Request, Transport
from whet_server.llm.endpoint import Route
from whet_server.llm.spans import opened
from whet_server.llm.tab import Tab, Worst
from whet_server.llm.taxonomy import failure
from whet_server.llm.turn import Turn
from whet_server.log.lifecycle import BranchState
from whet_server.values import Attempt, Billing, Failure, Parameters

BREAKING: Final = frozenset(
    {
        Reason.PROVIDER_UNREACHABLE,
        Reason.CONNECT_TIMEOUT,
        Reason.FIRST_TOKEN_TIMEOUT,
        Reason.IDLE_TIMEOUT,
        Reason.PROVIDER_ERROR,
        Reason.PROVIDER_OVERLOADED,
        Reason.STREAM_CUT,
        Reason.LOCAL_MODEL_FAILED,
    }
)
"""Faults of the connection and the server, which the circuit breaker counts."""
SLOWNESS: Final = frozenset({Reason.FIRST_TOKEN_TIMEOUT, Reason.IDLE_TIMEOUT})
"""Of the local model this says that the machine is busy, and nothing is won by leaving it alone."""
OVERLOADED: Final = 529
"""This status asks for fewer calls at once and, unlike other 5xx, says nothing against the endpoint."""

_tracer = trace.get_tracer("whet_server.llm")


class Ear:
    """Hears one attempt and tells the call's listener."""

    def __init__(self, listener: Listener, turn: Turn, now: Callable[[], float]) -> None:
        self._listener = listener
        self._turn = turn
        self._now = now
        self.left = False
        self.first_token: float | None = None
        self.pieces: list[str] = []
        self.request_id = ""

    @property
    def heard(self) -> str:
        return "".join(self.pieces)

    def sent(self) -> None:
        self.left = True
        self._turn.sent()
        self._listener.progress(BranchState.ASKED)

    def accepted(self, provider_request_id: str, headers: dict[str, str]) -> None:
        self.request_id = provider_request_id

    def text(self, piece: str) -> None:
        if self.first_token is None:
            self.first_token = self._now()
            self._listener.progress(BranchState.STREAMING)
        self.pieces.append(piece)
        self._listener.text(piece)

    def loading(self, fraction: float) -> None:
        self._listener.progress(BranchState.LOADING, detail="loading the model", fraction=fraction)


class Try:
    """One attempt at one model. `make` it once; then it says what became of it."""

    def __init__(
        self,
        spec: CallSpec,
        route: Route,
        parameters: Parameters,
        worst: Worst,
        *,
        number: int,
        ledger: Ledger,
        turn: Turn,
        listener: Listener,
        clock: Callable[[], int],
    ) -> None:
        self._spec = spec
        self._route = route
        self._parameters = parameters
        self._worst = worst
        self._number = number
        self._turn = turn
        self._clock = clock
        self._now = asyncio.get_running_loop().time
        self._tab = Tab(ledger, spec, route.info, worst)
        self.ear = Ear(listener, turn, self._now)
        self.answer: Answer | None = None
        self.failure: Failure | None = None
        self.record: Attempt | None = None

    async def make(self, transports: Mapping[EndpointKind, Transport], deadline: float, ticket: int) -> None:
        """Reserve, send, settle. Raises what `Tab.open` raises; then nothing was sent."""
        await self._tab.open()
        with opened(_tracer, "llm.attempt") as span:
            start_ns, start = self._clock(), self._now()
            try:
                transport = transports[self._route.kind]
                self.answer = await transport.send(self._request(deadline), self.ear)
                self._answered(self.answer, ticket)
            except ProviderFault as fault:
                self._failed(fault, ticket)
            except BaseException:
                if self.answer is None and self.failure is None:
                    self.failure = failure(Reason.CANCELLED, "The call was cut off.")
                self._abandon()
                raise
            finally:
                self.record = self._recorded(start_ns, start)
                _describe(span, self.record)

    def _request(self, deadline: float) -> Request:
        limits = self._route.limits(self._spec.limits)
        endpoint = self._route.endpoint
        total = max(0.001, deadline - self._now())
        return Request(
            base_url=endpoint.settings.base_url,
            model=self._route.model,
            messages=self._spec.messages,
            parameters=self._parameters,
            connect=min(limits.connect or total, total),
            first_token=min(limits.first_token or total, total),
            idle=min(limits.idle or total, total),
            total=total,
            key=endpoint.key,
            embeds=self._spec.embeds,
        )

    def _answered(self, answer: Answer, ticket: int) -> None:
        endpoint = self._route.endpoint
        endpoint.breaker.passed(ticket)
        endpoint.last_success_ns, endpoint.last_failure = self._clock(), None
        self._turn.succeeded()
        seen = self._worst.seen(self.ear.heard)
        usage = answer.usage or seen
        self._turn.used(usage.input_tokens + usage.output_tokens)
        if answer.usage is not None or self._tab.free:
            self._tab.settle(usage)
        else:
            self._tab.unknown(seen)

    def _failed(self, fault: ProviderFault, ticket: int) -> None:
        self.failure = fault.failure
        self._blame(fault, ticket)
        if fault.usage is not None:
            self._tab.settle(fault.usage)
        elif not fault.billed or self._tab.free:
            self._tab.release()
        else:
            self._tab.unknown(self._worst.seen(self.ear.heard))

    def _abandon(self) -> None:
        """Close the entry of an attempt that was cut off, unless it is closed already."""
        if self._tab.billing is not Billing.RESERVED:
            return
        if self.ear.left and not self._tab.free:
            self._tab.unknown(self._worst.seen(self.ear.heard))
        else:
            self._tab.release()

    def _blame(self, fault: ProviderFault, ticket: int) -> None:
        """Let the endpoint's circuit and limits learn from a fault."""
        endpoint = self._route.endpoint
        endpoint.last_failure = fault.failure
        if fault.failure.reason == Reason.RATE_LIMITED or fault.status == OVERLOADED:
            self._turn.overloaded()
        breaking = BREAKING - SLOWNESS if self._route.kind is EndpointKind.LOCAL else BREAKING
        if fault.failure.reason in breaking and fault.status != OVERLOADED:
            endpoint.breaker.failed(ticket)
        else:
            endpoint.breaker.passed(ticket)

    def _recorded(self, start_ns: int, start: float) -> Attempt:
        first = self.ear.first_token
        told = self.failure.metadata if self.failure is not None else {}
        return Attempt(
            number=self._number,
            model=self._route.info.name,
            start_ns=start_ns,
            latency_ns=int((self._now() - start) * 1e9),
            failure=self.failure,
            first_token_ns=None if first is None else int((first - start) * 1e9),
            usage=self._tab.usage,
            billing=self._tab.billing,
            cost=self._tab.cost,
            provider_request_id=self.ear.request_id or told.get("provider_request_id", ""),
        )


def _describe(span: trace.Span, attempt: Attempt) -> None:
    """Put the attempt on its span, when somebody records it."""
    if not span.is_recording():
        return
    span.set_attributes(
        {
            "gen_ai.request.model": attempt.model,
            "gen_ai.usage.input_tokens": attempt.usage.input_tokens,
            "gen_ai.usage.output_tokens": attempt.usage.output_tokens,
            "whet.attempt": attempt.number,
            "whet.billing": attempt.billing.value,
        }
    )
    if attempt.failure is not None:
        span.set_attribute("error.type", attempt.failure.reason)
        span.set_status(trace.StatusCode.ERROR, attempt.failure.reason)
