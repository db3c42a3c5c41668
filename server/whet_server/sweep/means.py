"""What a sweep's calls are made with, and what comes of those for one answer."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from whet_server.errors import InvalidField, NotFound
from whet_server.judging import Item
from whet_server.llm.base import Caller, CallResult, CallSpec, Listener, ModelInfo, Unheard
from whet_server.sweep.spec import SweepSpec
from whet_server.sweeping import Budget, StageOutput
from whet_server.values import (
    CallId,
    CallLimits,
    Failure,
    Message,
    ModelName,
    Nanos,
    Parameters,
    RunId,
    Totals,
    Value,
    Workspace,
)

_MANY: Final = 1_000_000
"""Calls at once where nobody says how many."""
UNHEARD: Final = Unheard()
PLANNED: Final = RunId("plan")
"""The run of calls that are only estimated."""


class Answered(Value):
    """What a target answered to a case. `failure` None: it did. `cost` and `latency_ns` are those of making the answer,
    also of a cached one, so that what the cache has looks no cheaper and quicker than it is; None: unknown.
    """

    output: str = ""
    stages: tuple[StageOutput, ...] = ()
    models: tuple[ModelName, ...] = ()
    totals: Totals = Totals()
    cost: Nanos | None = Nanos(0)
    latency_ns: int | None = 0
    cached: bool = False
    simulated: bool = False
    failure: Failure | None = None


class Means:
    """What a sweep's calls are made with. `budget` is what holds now: a retune sets it."""

    def __init__(self, caller: Caller, workspace: Workspace, run_id: RunId, spec: SweepSpec) -> None:
        self.caller = caller
        self.workspace = workspace
        self.run_id = run_id
        self.budget: Budget = spec.budget
        self.limits: CallLimits = spec.limits
        self.cache_bypass = spec.cache_bypass
        self.cache_ttl = spec.cache_ttl
        self._places: dict[tuple[ModelName, int], asyncio.Semaphore] = {}

    def spec(
        self,
        call_id: CallId,
        model: ModelName,
        messages: tuple[Message, ...],
        parameters: Parameters,
        *,
        sample: int = 1,
    ) -> CallSpec:
        """Return a call that counts against the sweep's caps."""
        return CallSpec(
            workspace=self.workspace,
            run_id=self.run_id,
            call_id=call_id,
            models=(model,),
            messages=messages,
            parameters=parameters,
            limits=self.limits,
            sample=sample,
            cache_bypass=self.cache_bypass,
            cache_ttl=self.cache_ttl,
            run_cap=self.budget.money,
            run_token_cap=self.budget.tokens,
        )

    async def ask(self, call: CallSpec, stop: asyncio.Event, listener: Listener = UNHEARD) -> CallResult:
        """Make a call. What waits for a place at its model does so before it begins, so that no limit of time runs."""
        async with self.place(call.models[0], (await self.info(call.models[0])).at_once):
            return await self.caller.call(call, listener, stop)

    def place(self, model: ModelName, most: int) -> asyncio.Semaphore:
        """Return what holds the places of a model that may have `most` calls before it; 0: as many as there are."""
        key = (model, most)
        if key not in self._places:
            self._places[key] = asyncio.Semaphore(most or _MANY)
        return self._places[key]

    async def info(self, model: ModelName) -> ModelInfo:
        """Return what is known of a model, or its name alone."""
        try:
            return await self.caller.resolve(self.workspace, model)
        except (NotFound, InvalidField):  # it is gone, as the call will say
            return ModelInfo(name=model, price=None)

    async def resolve(self, model: ModelName, path: str) -> ModelInfo:
        """Return what is known of a model. Raises `EndpointNotFound`, `ModelNotFound` or `InvalidField` at `path`."""
        try:
            return await self.caller.resolve(self.workspace, model)
        except NotFound as error:
            raise type(error)(f"{path}: {error}", metadata=error.metadata | {"field": path}) from error
        except InvalidField as error:
            raise InvalidField(*((path, what) for _, what in error.violations)) from error


class Tally:
    """Sums over the calls of one answer, which are made one after the other."""

    def __init__(self) -> None:
        self.stages: list[StageOutput] = []
        self._models: dict[ModelName, None] = {}
        self._totals = Totals()
        self._latency_ns: int | None = 0
        self._cost: int | None = 0
        self._calls = 0
        self._cached = 0
        self._simulated = False

    def add(self, result: CallResult) -> None:
        self._models[result.model] = None
        self._totals += result.totals
        self._latency_ns = whole((self._latency_ns, took(result)))
        self._cost = whole((self._cost, paid(result)))
        self._calls += 1
        self._cached += result.cached
        self._simulated |= result.simulated

    def answered(self, output: str, failure: Failure | None = None) -> Answered:
        """Return what it came to."""
        return Answered(
            output=output,
            stages=tuple(self.stages),
            models=tuple(self._models),
            totals=self._totals,
            cost=None if self._cost is None else Nanos(self._cost),
            latency_ns=self._latency_ns,
            cached=0 < self._calls == self._cached,
            simulated=self._simulated,
            failure=failure,
        )


def took(result: CallResult) -> int | None:
    """Return how long making an answer took, in nanoseconds, without what it waited for its turn."""
    return result.made_ns if result.cached else result.answer_ns


def paid(result: CallResult) -> int | None:
    """Return what making an answer cost, in nanos; None where its price is unknown."""
    if result.cached:
        return result.made_cost
    return None if result.totals.unpriced else result.totals.settled + result.totals.unknown


def whole(parts: Iterable[int | None]) -> int | None:
    """Return the sum; None where a part is unknown."""
    known = list(parts)
    return None if None in known else sum(part or 0 for part in known)


def field_names(items: Sequence[Item]) -> frozenset[str]:
    """Return the names of the further fields that any case has."""
    return frozenset(name for item in items for name in item.fields)
