"""A panel of scripted models whose answers wait at gates, and a server's room around it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from whet_server.errors import ModelNotFound, Reason
from whet_server.fanout.fanouts import FanoutDefaults, Fanouts
from whet_server.fanout.spec import BranchSpec, FanoutSpec, SynthesisMode, SynthesisSpec
from whet_server.ledger.prices import Price
from whet_server.llm.base import CallResult, CallSpec, Estimate, Listener, ModelInfo, entry_id
from whet_server.log.events import BranchFinished, Event
from whet_server.log.lifecycle import BranchState
from whet_server.log.log import EventLog
from whet_server.store.base import ReservationRecord, Store
from whet_server.store.memory import MemoryStore
from whet_server.values import (
    Attempt,
    Billing,
    CallId,
    Failure,
    Message,
    ModelName,
    Nanos,
    Principal,
    Role,
    RunId,
    Speaker,
    Totals,
    Usage,
    Workspace,
    new_id,
)

HOME = Workspace("default")
ME = Principal(workspace=HOME, role=Role.PERSON)
COST = Nanos(10)
PRICE = Price(input=1, output=1, source="endpoint")
BROKEN = Failure(reason=Reason.PROVIDER_ERROR, message="The provider failed.", transient=True)
PATIENCE = 10.0
P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a scripted model does: `gate` holds it before its text, `middle` after the first half of it."""

    text: str = "An answer."
    gate: str = ""
    middle: str = ""
    failure: Failure | None = None
    simulated: bool = False
    retries: int = 0


Script = Answer | Callable[[CallSpec], Answer]


@dataclass
class Panel:
    """A `Caller` whose models answer by script; a model without one is not known."""

    scripts: dict[str, Script]
    price: Price | None = PRICE
    store: Store | None = None
    asked: list[CallSpec] = field(default_factory=list)
    ended: list[CallSpec] = field(default_factory=list)
    cached: bool = False
    _change: asyncio.Event = field(default_factory=asyncio.Event)
    _gates: dict[str, asyncio.Event] = field(default_factory=dict)

    def gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()`, asked again whenever a call begins or ends."""
        async with asyncio.timeout(PATIENCE):
            while not ready():
                await self._change.wait()

    def _moved(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def asked_of(self, model: str) -> list[CallSpec]:
        return [call for call in self.asked if call.models[0] == model]

    async def call(self, spec: CallSpec, listener: Listener, stop: asyncio.Event) -> CallResult:
        script = self.scripts[spec.models[0]]
        answer = script(spec) if callable(script) else script
        self.asked.append(spec)
        self._moved()
        if self.store is not None:
            await self.store.commit(entry(spec.run_id, spec.call_id, spec.models[0]))
        try:
            listener.progress(BranchState.ASKED)
            for number in range(1, answer.retries + 1):
                await listener.attempt_failed(attempt(spec, number))
            return await self._answer(spec, answer, listener, stop)
        finally:
            self.ended.append(spec)
            self._moved()

    async def _answer(self, spec: CallSpec, answer: Answer, listener: Listener, stop: asyncio.Event) -> CallResult:
        if answer.gate and not await self._passed(answer.gate, stop):
            return result(spec, answer, BranchState.CANCELLED, "")
        if answer.failure is not None and not answer.middle:
            return result(spec, answer, BranchState.FAILED, "")
        half = len(answer.text) // 2
        listener.progress(BranchState.STREAMING)
        listener.text(answer.text[:half])
        if answer.middle and not await self._passed(answer.middle, stop):
            return result(spec, answer, BranchState.PARTIAL, answer.text[:half])
        if answer.failure is not None:
            return result(spec, answer, BranchState.PARTIAL, answer.text[:half])
        listener.text(answer.text[half:])
        return result(spec, answer, BranchState.DONE, answer.text)

    async def _passed(self, gate: str, stop: asyncio.Event) -> bool:
        """Wait for the gate or the stop; return whether the gate opened."""
        opened = self.gate(gate)
        waits = {asyncio.ensure_future(opened.wait()), asyncio.ensure_future(stop.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return opened.is_set() and not stop.is_set()

    async def resolve(self, workspace: Workspace, model: ModelName) -> ModelInfo:
        if model not in self.scripts:
            raise ModelNotFound(f"{model} is not known")
        return ModelInfo(name=model, price=self.price, simulated=model.startswith("sim/"))

    async def estimate(self, spec: CallSpec) -> Estimate:
        size = sum(len(message.content.encode()) for message in spec.messages)
        limit = spec.parameters.max_tokens or 100
        return Estimate(
            expected=Nanos(size // 4 + limit // 2),
            worst=Nanos(size + limit),
            cached=self.cached,
            info=await self.resolve(spec.workspace, spec.models[0]),
        )


def entry(
    run_id: RunId, call_id: str, model: str, *, billing: Billing = Billing.UNKNOWN, reserved: int = COST
) -> ReservationRecord:
    """A ledger's entry of a call; of nobody's when `call_id` is empty."""
    return ReservationRecord(
        reservation_id=entry_id(CallId(call_id)) if call_id else new_id("res"),
        workspace=HOME,
        run_id=run_id,
        model=ModelName(model),
        billing=billing,
        reserved=Nanos(reserved),
        settled=Nanos(reserved if billing is Billing.SETTLED else 0),
        create_ns=1,
    )


def attempt(spec: CallSpec, number: int) -> Attempt:
    return Attempt(number=number, model=spec.models[0], start_ns=1, latency_ns=1, failure=BROKEN)


def result(spec: CallSpec, answer: Answer, state: BranchState, text: str) -> CallResult:
    """What the call came to. A failed one is settled too: half the providers bill it."""
    cut = answer.failure or Failure(reason=Reason.CANCELLED, message="cut off")
    usage = Usage(input_tokens=1, output_tokens=len(text))
    made = Attempt(
        number=1, model=spec.models[0], start_ns=1, latency_ns=1, usage=usage, billing=Billing.SETTLED, cost=COST
    )
    return CallResult(
        state=state,
        model=spec.models[0],
        text=text,
        failure=None if state is BranchState.DONE else cut,
        attempts=(made,),
        totals=Totals(settled=COST, usage=usage, attempts=1),
        simulated=answer.simulated,
    )


@dataclass
class Room:
    """Fan-outs over a store in memory and a panel."""

    panel: Panel
    store: MemoryStore
    log: EventLog
    fanouts: Fanouts

    async def start(self, spec: FanoutSpec) -> RunId:
        return (await self.fanouts.start(ME, spec, request_id="")).run_id

    async def events(self, run_id: RunId) -> list[Event]:
        """Watch the run to its end."""
        async with asyncio.timeout(PATIENCE):
            return [event async for batch in self.fanouts.watch(HOME, run_id) for event in batch.events]

    async def ask(self, spec: FanoutSpec) -> list[Event]:
        return await self.events(await self.start(spec))

    async def seen(self, run_id: RunId, kind: type[P], wanted: Callable[[P], bool] = lambda _: True) -> P:
        """Watch the run until an event of this kind is as wanted; return it."""
        async with asyncio.timeout(PATIENCE):
            async for batch in self.fanouts.watch(HOME, run_id):
                for payload in of(batch.events, kind):
                    if wanted(payload):
                        return payload
        raise AssertionError("the run ended before")


@asynccontextmanager
async def open_room(
    scripts: dict[str, Script],
    *,
    panel: Panel | None = None,
    store: MemoryStore | None = None,
    defaults: FanoutDefaults | None = None,
    hours_later: int = 0,
) -> AsyncIterator[Room]:
    panel = panel or Panel(scripts)
    store = store or MemoryStore()
    clock = Clock(hours_later)
    log = EventLog(store, clock=clock)
    room = Room(panel, store, log, Fanouts(log, panel, store, defaults or FanoutDefaults(panel=()), clock=clock))
    try:
        yield room
    finally:
        await room.fanouts.drain(0)
        assert len(panel.ended) == len(panel.asked)


class Clock:
    """Unix nanoseconds, a microsecond further at every look."""

    def __init__(self, hours_later: int) -> None:
        self.now = 1_700_000_000_000_000_000 + hours_later * 3_600_000_000_000

    def __call__(self) -> int:
        self.now += 1_000
        return self.now


def ask(
    *models: str,
    mode: SynthesisMode = SynthesisMode.NONE,
    draft_by: str | None = None,
    start_after: int = 0,
    prompt: str = "What is a monad?",
    enough: int = 0,
    deadline: float | None = None,
) -> FanoutSpec:
    return FanoutSpec(
        messages=(Message(role=Speaker.USER, content=prompt),),
        branches=tuple(BranchSpec(model=ModelName(model)) for model in models),
        synthesis=SynthesisSpec(mode=mode, model=ModelName(draft_by) if draft_by else None, start_after=start_after),
        enough=enough,
        deadline=deadline,
    )


def of(events: Sequence[Event], kind: type[P]) -> list[P]:
    """Return the payloads of this kind."""
    return [event.payload for event in events if isinstance(event.payload, kind)]


def ends(events: Sequence[Event]) -> dict[str, BranchFinished]:
    """Return how each branch ended."""
    return {end.branch_id: end for end in of(events, BranchFinished)}
