"""The transport of the simulated models: no bytes travel, but time passes, and limits and faults are those of a
provider.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from whet_server.errors import InvalidField, ModelNotFound, Reason, failure_of
from whet_server.llm.base import Answer, ProviderFault, Request, Sink
from whet_server.llm.sim.model import PREFIX, Fault, SimModel, parse, presets
from whet_server.llm.sim.prose import answer
from whet_server.llm.taxonomy import failure
from whet_server.values import Message, Usage

_TICK: Final = 0.02
"""Seconds between two pieces at least: events go out every 25 ms, and 200 models at once stay cheap."""
_DRIP: Final = 1.0
"""Seconds between two tokens of a slow drip: below every sensible idle limit, so that only the total one ends it."""
_MOST_NAMES: Final = 10_000
"""Names whose calls are counted; the ones not called for the longest time are forgotten, since names are free."""
_TOKEN: Final = re.compile(r"\s*\S+")

_REFUSALS: Final[Mapping[Fault, tuple[int, Reason]]] = {
    Fault.RATE_LIMITED: (429, Reason.RATE_LIMITED),
    Fault.RATE_LIMITED_RETRY_AFTER: (429, Reason.RATE_LIMITED),
    Fault.QUOTA_EXHAUSTED: (429, Reason.QUOTA_EXHAUSTED),
    Fault.SERVER_ERROR: (500, Reason.PROVIDER_ERROR),
    Fault.OVERLOADED: (503, Reason.PROVIDER_OVERLOADED),
    Fault.KEY_REFUSED: (401, Reason.KEY_REFUSED),
    Fault.REQUEST_REFUSED: (400, Reason.REQUEST_REFUSED),
}
"""Faults that are an error status."""

_BREAKS: Final[Mapping[Fault, tuple[Reason, str]]] = {
    Fault.CUT: (Reason.STREAM_CUT, "broke its answer off"),
    Fault.GARBAGE: (Reason.PROTOCOL_VIOLATION, "sent something that is not an event of its protocol"),
    Fault.EMPTY: (Reason.EMPTY_ANSWER, "ended its answer without a word"),
    Fault.CONTENT_FILTERED: (Reason.CONTENT_FILTERED, "withheld its answer by its content rules"),
}
"""Faults that end an answer, and what the model did."""


class SimTransport:
    """Answers for every simulated model. One instance counts the calls of each name, for faults that pass."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, int] = OrderedDict()

    async def send(self, request: Request, sink: Sink) -> Answer:
        """Answer as the model's name says, within the limits of `request`. Raises `ProviderFault`."""
        try:
            sim = parse(request.model)
        except (ModelNotFound, InvalidField) as error:
            raise ProviderFault(failure_of(error), billed=False, status=404) from None
        call = self._count(sim.name)
        return await _Attempt(sim, request, sink, sim.faulted(call)).run(f"sim-{call + 1}")

    async def models(self, request: Request) -> Sequence[str]:
        """Return the names of the presets."""
        return [preset.name for preset in presets()]

    def _count(self, name: str) -> int:
        """The number of this call under its name, from 0."""
        call = self._calls.pop(name, 0)
        self._calls[name] = call + 1
        if len(self._calls) > _MOST_NAMES:
            self._calls.popitem(last=False)
        return call


class _Attempt:
    """One answer on its way. Every moment is counted from the start, so that delays do not add up."""

    def __init__(self, sim: SimModel, request: Request, sink: Sink, fault: Fault | None) -> None:
        self._sim = sim
        self._request = request
        self._sink = sink
        self._fault = fault
        self._now = asyncio.get_running_loop().time
        self._start = self._now()
        self._heard = self._start
        self._total = self._start + request.total

    async def run(self, request_id: str) -> Answer:
        await self._connect()
        self._sink.sent()
        self._refuse()
        self._sink.accepted(request_id, {})
        tokens, finish_reason = _answer_tokens(self._sim, self._request)
        whole = len(tokens) if self._fault is None else min(self._sim.after, len(tokens))
        if self._fault is Fault.EMPTY:
            whole = 0
        first = self._start + self._sim.first_ms / 1000
        await self._wait(first, streaming=False)
        await self._stream(tokens[:whole], first, 1 / self._sim.rate)
        if self._fault is Fault.SLOW_DRIP:
            await self._stream(tokens[whole:], self._now() + (_DRIP if whole else 0), _DRIP)
        elif self._fault is not None:
            await self._break_off(streaming=whole > 0)
        return Answer(usage=self._usage(len(tokens)), finish_reason=finish_reason, model=PREFIX + self._sim.name)

    async def _connect(self) -> None:
        if self._fault is Fault.UNREACHABLE:
            raise self._failed(Reason.PROVIDER_UNREACHABLE, "cannot be reached", billed=False)
        if self._fault is Fault.CONNECT_HANG:
            await self._until(min(self._start + self._request.connect, self._total))
            raise self._failed(Reason.CONNECT_TIMEOUT, "did not accept the connection in time", billed=False)

    def _refuse(self) -> None:
        """Answer with an error status. Nothing is billed for it: what it says of itself, a simulation knows."""
        if self._fault is None or self._fault not in _REFUSALS:
            return
        status, reason = _REFUSALS[self._fault]
        fault = self._failed(reason, f"answered {status}", billed=False, status=status)
        if self._fault is Fault.RATE_LIMITED_RETRY_AFTER:
            fault.failure = msgspec.structs.replace(fault.failure, retry_after_ns=self._sim.retry_after_ms * 1_000_000)
        raise fault

    async def _stream(self, tokens: Sequence[str], first: float, gap: float) -> None:
        """Give token i at `first + i * gap`; what is due within one tick goes out as one piece."""
        given = 0
        last = first + (len(tokens) - 1) * gap
        while given < len(tokens):
            next_piece = first if given == 0 else max(first + given * gap, min(last, self._heard + _TICK))
            await self._wait(next_piece, streaming=self._heard > self._start)
            due = max(given + 1, min(len(tokens), int((self._now() - first) / gap) + 1))
            self._heard = self._now()
            self._sink.text("".join(tokens[given:due]))
            given = due

    async def _break_off(self, *, streaming: bool) -> None:
        """End the answer as the fault says. A hang only ends by a limit of the request."""
        if self._fault is Fault.HANG:
            await self._wait(float("inf"), streaming=streaming)
        for fault, (reason, what) in _BREAKS.items():
            if fault is self._fault:
                raise self._failed(reason, what, billed=True)

    async def _wait(self, moment: float, *, streaming: bool) -> None:
        """Wait until `moment`, or until a limit of the request is over: then raise its fault."""
        request = self._request
        silence = self._heard + request.idle if streaming else self._start + request.first_token
        if moment <= min(silence, self._total):
            await self._until(moment)
            return
        await self._until(min(silence, self._total))
        if self._total <= silence:
            raise self._failed(Reason.TOTAL_TIMEOUT, "took too long", billed=True)
        reason = Reason.IDLE_TIMEOUT if streaming else Reason.FIRST_TOKEN_TIMEOUT
        raise self._failed(reason, "fell silent for too long", billed=True)

    async def _until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self._now()))

    def _usage(self, output_tokens: int) -> Usage | None:
        if not self._sim.usage_reported:
            return None
        return Usage(input_tokens=_input_tokens(self._request.messages), output_tokens=output_tokens)

    def _failed(self, reason: Reason, what: str, *, billed: bool, status: int | None = None) -> ProviderFault:
        message = f"The simulated model {PREFIX}{self._sim.name[:100]} {what}."
        return ProviderFault(failure(reason, message), billed=billed, status=status)


def _answer_tokens(sim: SimModel, request: Request) -> tuple[Sequence[str], str]:
    """Return the answer in tokens (words with the space before them) and why it ends there."""
    parameters = request.parameters
    text = sim.text or answer(sim, request.messages, parameters)
    for stop in parameters.stop:
        text = text.partition(stop)[0]
    tokens = _TOKEN.findall(text)
    most = parameters.max_tokens
    return (tokens, "stop") if most is None or len(tokens) <= most else (tokens[:most], "length")


def _input_tokens(messages: Sequence[Message]) -> int:
    return sum(len(message.content.split()) for message in messages)
