"""An endpoint at work: its settings, its key, and what it has gone through since the server started."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from whet_server.llm.base import EndpointKind, EndpointSettings, ModelInfo, ModelSettings, RateLimits
from whet_server.llm.breaker import Breaker
from whet_server.llm.keys import BoundKey, origin_of
from whet_server.llm.limits import Bucket, Slots
from whet_server.llm.retry import RetryBudget
from whet_server.values import CallLimits, Failure, Parameters, Value

MOST_MODELS: Final = 1000
"""Models of one endpoint whose limits are remembered: names are free, memory is not."""
DEFAULT_LIMITS: Final = CallLimits(connect=10.0, first_token=120.0, idle=60.0, total=600.0)
"""Seconds. A connection opens in one or not at all; reasoning models think for a minute or two; a stream that is silent
for a minute is dead; ten minutes are the longest answers there are."""


class Gate:
    """The limits of an endpoint, or of one of its models."""

    def __init__(self, limits: RateLimits, clock: Callable[[], float]) -> None:
        self.slots = Slots(limits.max_concurrency, clock)
        self.requests = Bucket(limits.requests_per_minute, clock)
        self.tokens = Bucket(limits.tokens_per_minute, clock)
        self.plain = False
        """It refused a JSON Schema once and is sent none any more: what it answers is then not held to one."""

    def resize(self, limits: RateLimits) -> None:
        self.slots.resize(limits.max_concurrency)
        self.requests.resize(limits.requests_per_minute)
        self.tokens.resize(limits.tokens_per_minute)

    def take(self, tokens: int) -> float:
        """Take a request and its tokens from the buckets; return the seconds to wait."""
        return max(self.requests.take(1), self.tokens.take(tokens))

    def untake(self, tokens: int) -> None:
        """The request is not made after all."""
        self.requests.give_back(1)
        self.tokens.give_back(tokens)


class Endpoint:
    """One endpoint. `clock` is monotonic, in seconds."""

    def __init__(self, settings: EndpointSettings, key: BoundKey | None, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.key = key
        self.gate = Gate(settings.limits, clock)
        self.breaker = Breaker(clock)
        self.budget = RetryBudget(clock)
        self.last_failure: Failure | None = None
        self.last_success_ns: int | None = None
        self._clock = clock
        self._models = {model.model: model for model in settings.models}
        self._gates: OrderedDict[str, Gate] = OrderedDict()

    @property
    def origin(self) -> str:
        return origin_of(self.settings.base_url) if self.settings.base_url else ""

    def change(self, settings: EndpointSettings, key: BoundKey | None) -> None:
        """Go on with other settings. Calls under way keep their places; limits that stay keep what they have learnt."""
        before = self.settings
        self.settings, self.key = settings, key
        self._models = {model.model: model for model in settings.models}
        if settings.limits != before.limits:
            self.gate.resize(settings.limits)
        for name, gate in self._gates.items():
            if (limits := _limits_of(settings, name)) != _limits_of(before, name):
                gate.resize(limits)
        if settings.base_url != before.base_url:
            self.breaker = Breaker(self._clock)
            self.last_failure = None
            for gate in self._gates.values():
                gate.plain = False

    def model(self, name: str) -> ModelSettings:
        """Return a model's own settings, or the defaults."""
        return self._models.get(name) or ModelSettings(model=name)

    def model_gate(self, name: str) -> Gate:
        """Return a model's own limits. Those that were not used for the longest time are forgotten."""
        gate = self._gates.pop(name, None) or Gate(_limits_of(self.settings, name), self._clock)
        self._gates[name] = gate
        if len(self._gates) > MOST_MODELS:
            idle = next((each for each, gate in self._gates.items() if not gate.slots.in_flight), name)
            if idle != name:
                del self._gates[idle]
        return gate


class Route(Value):
    """Everything about a model that a call to it needs."""

    endpoint: Endpoint
    model: str
    """The model's name at the endpoint."""
    info: ModelInfo

    @property
    def kind(self) -> EndpointKind:
        return self.endpoint.settings.kind

    def parameters(self, asked: Parameters) -> Parameters:
        """Return the parameters with the most tokens of an answer always said, since money is reserved for them."""
        return asked if asked.max_tokens is not None else replace(asked, max_tokens=self.info.default_max_tokens)

    def limits(self, asked: CallLimits) -> CallLimits:
        """Return the limits of time: as asked, else the endpoint's, else the defaults."""
        own = self.endpoint.settings.call_limits
        return CallLimits(
            connect=asked.connect or own.connect or DEFAULT_LIMITS.connect,
            first_token=asked.first_token or own.first_token or DEFAULT_LIMITS.first_token,
            idle=asked.idle or own.idle or DEFAULT_LIMITS.idle,
            total=asked.total or own.total or DEFAULT_LIMITS.total,
        )


def _limits_of(settings: EndpointSettings, model: str) -> RateLimits:
    """Return a model's own limits; where it does not say how many calls at once, the endpoint's limit is its own."""
    own = next((each.limits for each in settings.models if each.model == model), RateLimits())
    return own if own.max_concurrency else replace(own, max_concurrency=settings.limits.max_concurrency)
