"""The whole call path on a real local provider: transport, registry, ledger, cache and caller around a stub."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from whet_eval.provider import ProviderStub
from whet_server.ledger.ledger import Ledger
from whet_server.ledger.prices import Price
from whet_server.llm.base import (
    CallResult,
    CallSpec,
    EndpointKind,
    EndpointSettings,
    ModelSettings,
    RateLimits,
    Request,
    Transport,
)
from whet_server.llm.cache import ResponseCache
from whet_server.llm.call import ModelCaller
from whet_server.llm.keys import BoundKey, Sealer
from whet_server.llm.registry import Endpoints
from whet_server.llm.sim import SimTransport
from whet_server.llm.transport import MAX_BODY, HttpTransport
from whet_server.log.lifecycle import BranchState
from whet_server.store.memory import MemoryStore
from whet_server.values import (
    Attempt,
    CallId,
    CallLimits,
    Message,
    ModelName,
    Nanos,
    Parameters,
    RunId,
    Speaker,
    Workspace,
)

HOME = Workspace("default")
RUN = RunId("fan_1")
PRICE = Price(input=1_000_000, output=3_000_000, source="endpoint")
SEALER = Sealer(bytes(32))
QUICK = CallLimits(connect=2.0, first_token=0.4, idle=0.3, total=1.2)
"""Limits short enough for tests that run into them."""


@dataclass(slots=True)
class Diary:
    """A listener that writes down what it hears."""

    states: list[BranchState] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    failed: list[Attempt] = field(default_factory=list)
    spoke: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    waits: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def heard(self) -> str:
        return "".join(self.pieces)

    def progress(
        self, state: BranchState, *, detail: str = "", fraction: float = 0.0, wait: float | None = None
    ) -> None:
        self.states.append(state)
        self.details.append(detail)
        if state is BranchState.WAITING:
            self.waits.set()
        if state is BranchState.ASKED:
            self.asked.set()

    def text(self, piece: str) -> None:
        self.pieces.append(piece)
        self.spoke.set()

    async def attempt_failed(self, attempt: Attempt) -> None:
        self.failed.append(attempt)


@dataclass(slots=True)
class Clock:
    """A clock that stands until it is moved."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


class NoJitter(random.Random):
    """Draws the lower end, so that a retry follows at once."""

    def uniform(self, a: float, b: float) -> float:
        return a


@dataclass(slots=True)
class House:
    """Everything a test of the call path touches."""

    stub: ProviderStub
    store: MemoryStore
    ledger: Ledger
    cache: ResponseCache
    endpoints: Endpoints
    transport: HttpTransport
    caller: ModelCaller

    async def call(
        self, spec: CallSpec, listener: Diary | None = None, stop: asyncio.Event | None = None
    ) -> CallResult:
        return await self.caller.call(spec, listener or Diary(), stop or asyncio.Event())


@asynccontextmanager
async def open_house(
    *,
    price: Price | None = PRICE,
    limits: RateLimits = RateLimits(),
    more: Sequence[tuple[EndpointSettings, BoundKey | None]] = (),
    seed: int = 0,
    clock: Clock | None = None,
    max_body: int = MAX_BODY,
    local: Transport | None = None,
) -> AsyncIterator[House]:
    async with ProviderStub(seed=seed) as stub:
        store = MemoryStore()
        http = HttpTransport(max_body=max_body)
        names = [*stub.model_names, "plain?chunks=8&gap_ms=20", "plain?chunks=20"]
        settings = EndpointSettings(
            name="stub",
            base_url=stub.url,
            limits=limits,
            models=tuple(ModelSettings(model=name, price=price, default_max_tokens=100) for name in names),
        )
        transports: dict[EndpointKind, Transport] = {
            EndpointKind.OPENAI: http,
            EndpointKind.SIM: SimTransport(),
            **({EndpointKind.LOCAL: local} if local else {}),
        }
        sim = EndpointSettings(name="sim", kind=EndpointKind.SIM, source="built-in")
        configured = [(settings, None), (sim, None), *more]
        ticks = {} if clock is None else {"clock": clock}
        endpoints = await Endpoints.open(store, sealer=SEALER, transports=transports, configured=configured, **ticks)
        ledger = await Ledger.open(store, clock=_unix)
        cache = ResponseCache(store, clock=_unix)
        caller = ModelCaller(endpoints, ledger, cache, transports, source=NoJitter())
        try:
            yield House(
                stub=stub,
                store=store,
                ledger=ledger,
                cache=cache,
                endpoints=endpoints,
                transport=http,
                caller=caller,
            )
        finally:
            await cache.close()
            await ledger.close()
            await http.close()


_ticks = itertools.count(1_700_000_000_000_000_000)


def _unix() -> int:
    """A time that goes on with every look, in the middle of one UTC day."""
    return next(_ticks)


def spec(
    *models: str,
    prompt: str = "what is a monad",
    limits: CallLimits = QUICK,
    max_tokens: int | None = 10,
    call: str = "b1",
    run_cap: int | None = None,
    bypass: bool = True,
    sample: int = 1,
    deadline: float | None = None,
) -> CallSpec:
    """A call to models of the stub."""
    return CallSpec(
        workspace=HOME,
        run_id=RUN,
        call_id=CallId(f"{RUN}/{call}"),
        models=tuple(ModelName(model if "/" in model else f"stub/{model}") for model in models or ("plain",)),
        messages=(Message(role=Speaker.USER, content=prompt),),
        parameters=Parameters(max_tokens=max_tokens),
        limits=limits,
        cache_bypass=bypass,
        run_cap=None if run_cap is None else Nanos(run_cap),
        sample=sample,
        deadline=deadline,
    )


def request(url: str, model: str = "plain", **changes: object) -> Request:
    """An attempt at the stub, for tests of the transport alone."""
    values: dict[str, object] = {
        "base_url": url,
        "model": model,
        "messages": (Message(role=Speaker.USER, content="what is a monad"),),
        "parameters": Parameters(max_tokens=10),
        "connect": 2.0,
        "first_token": 0.4,
        "idle": 0.3,
        "total": 1.2,
    }
    return Request(**(values | changes))  # type: ignore[arg-type]
