"""The twin of `ModelCaller`: answers as it is told, one line of its script a call, and fails loudly without one.

For tests of what stands above a call. It keeps the promises of `base.Caller`: text comes through the listener, `stop`
and cancellation cut it off, and half a text is PARTIAL.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping

from whet_server.errors import ModelNotFound, Reason
from whet_server.ledger.prices import Price
from whet_server.llm.base import CallResult, CallSpec, Estimate, Listener, ModelInfo
from whet_server.llm.taxonomy import failure
from whet_server.log.lifecycle import BranchState
from whet_server.values import Attempt, Billing, Failure, ModelName, Nanos, Totals, Usage, Workspace, cost


class ScriptRanOut(AssertionError):
    """A call came for which the script has no line."""


class Line:
    """What one call does: wait for `begin`, say `pieces` with `go_on` waited for before the last of them, then end
    well or with `failure`. `asked` is set when the call has reached its model.
    """

    def __init__(
        self,
        *pieces: str,
        failure: Failure | None = None,
        begin: asyncio.Event | None = None,
        go_on: asyncio.Event | None = None,
        usage: Usage = Usage(input_tokens=10, output_tokens=5),
        finish_reason: str = "stop",
    ) -> None:
        self.pieces = pieces
        self.failure = failure
        self.begin = begin
        self.go_on = go_on
        self.usage = usage
        self.finish_reason = finish_reason
        self.asked = asyncio.Event()
        self.ended = asyncio.Event()


class ScriptedCaller:
    """A `Caller` on a script: for each model the lines of its calls, in order. `calls` is what was asked."""

    def __init__(
        self,
        script: Mapping[str, Iterable[Line]],
        *,
        prices: Mapping[str, Price] | None = None,
        simulated: bool = False,
    ) -> None:
        self._script = {ModelName(model): deque(lines) for model, lines in script.items()}
        self._prices = dict(prices or {})
        self._simulated = simulated
        self.calls: list[CallSpec] = []

    async def call(self, spec: CallSpec, listener: Listener, stop: asyncio.Event) -> CallResult:
        """Play the next line of the call's first model."""
        model = spec.models[0]
        self.calls.append(spec)
        lines = self._script.get(model)
        if not lines:
            raise ScriptRanOut(f"no line is left for {model}: this is call {len(self.calls)}, {spec.call_id}")
        return await _Play(lines.popleft(), spec, await self.resolve(spec.workspace, model), listener).run(stop)

    async def resolve(self, workspace: Workspace, model: ModelName) -> ModelInfo:
        """Return what the script says of a model. Raises `ModelNotFound` for one that has no part in it."""
        if model not in self._script:
            raise ModelNotFound(f"the script has no part for {model}", metadata={"model": model})
        price = self._prices.get(model, Price(input=0, output=0, source="scripted"))
        return ModelInfo(name=model, price=price, simulated=self._simulated)

    async def estimate(self, spec: CallSpec) -> Estimate:
        """Say what a call would cost: a token a byte, and the limit of the answer."""
        info = await self.resolve(spec.workspace, spec.models[0])
        price = info.price or Price(input=0, output=0)
        size = sum(len(message.content.encode()) for message in spec.messages)
        worst = cost(size, price.input) + cost(spec.parameters.max_tokens or info.default_max_tokens, price.output)
        return Estimate(expected=Nanos(worst // 2), worst=Nanos(worst), cached=False, info=info)

    def assert_played(self) -> None:
        """Raise when lines are left that nobody asked for."""
        left = {model: len(lines) for model, lines in self._script.items() if lines}
        if left:
            raise AssertionError(f"the script was not played to its end; lines left: {left}")


class _Play:
    """One call on its line."""

    def __init__(self, line: Line, spec: CallSpec, info: ModelInfo, listener: Listener) -> None:
        self._line = line
        self._spec = spec
        self._info = info
        self._listener = listener
        self._said: list[str] = []
        self._now = asyncio.get_running_loop().time
        self._start = self._now()
        self._first: float | None = None

    async def run(self, stop: asyncio.Event) -> CallResult:
        if stop.is_set():
            return self._result(_cut())
        speaking = asyncio.create_task(self._speak(), name="scripted-call")
        stopping = asyncio.create_task(stop.wait(), name="scripted-stop")
        try:
            await asyncio.wait([speaking, stopping], return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                await speaking
                return self._result(self._line.failure)
            return self._result(_cut())
        finally:
            speaking.cancel()
            stopping.cancel()
            await asyncio.wait([speaking, stopping])
            self._line.ended.set()

    async def _speak(self) -> None:
        line = self._line
        self._listener.progress(BranchState.ASKED)
        line.asked.set()
        if line.begin is not None:
            await line.begin.wait()
        for number, piece in enumerate(line.pieces, start=1):
            if line.go_on is not None and number == len(line.pieces):
                await line.go_on.wait()
            if self._first is None:
                self._first = self._now()
                self._listener.progress(BranchState.STREAMING)
            self._said.append(piece)
            self._listener.text(piece)
            await asyncio.sleep(0)

    def _result(self, told: Failure | None) -> CallResult:
        text = "".join(self._said)
        latency = int((self._now() - self._start) * 1e9)
        first = None if self._first is None else int((self._first - self._start) * 1e9)
        price = self._info.price or Price(input=0, output=0)
        usage = self._line.usage if told is None else Usage()
        paid = Nanos(cost(usage.input_tokens, price.input) + cost(usage.output_tokens, price.output))
        attempt = Attempt(
            number=1,
            model=self._info.name,
            start_ns=0,
            latency_ns=latency,
            failure=told,
            first_token_ns=first,
            usage=usage,
            billing=Billing.SETTLED if told is None else Billing.NONE,
            cost=paid,
        )
        return CallResult(
            state=_state(told, text),
            model=self._info.name,
            text=text,
            failure=told,
            attempts=(attempt,) if self._line.asked.is_set() else (),
            totals=Totals(settled=paid, usage=usage, attempts=int(self._line.asked.is_set())),
            latency_ns=latency,
            first_token_ns=first,
            simulated=self._info.simulated,
            finish_reason=self._line.finish_reason if told is None else "",
        )


def _state(told: Failure | None, text: str) -> BranchState:
    if told is None:
        return BranchState.DONE
    if text:
        return BranchState.PARTIAL
    return BranchState.CANCELLED if told.reason == Reason.CANCELLED else BranchState.FAILED


def _cut() -> Failure:
    return failure(Reason.CANCELLED, "The call was cut off.")
