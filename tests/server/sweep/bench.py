"""Targets over models that answer by script, and short ways to write sweeps."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from whet_server.errors import ModelNotFound
from whet_server.ledger.prices import Price
from whet_server.llm.base import CallResult, CallSpec, Estimate, Listener, ModelInfo
from whet_server.llm.scripted import Line, ScriptedCaller
from whet_server.sweep.means import Means
from whet_server.sweep.spec import SweepSpec
from whet_server.sweeping import Choice, Choices, FloatRange, IntRange, SearchDimension
from whet_server.values import CallId, Failure, ModelName, RunId, Usage, Workspace

HOME = Workspace("default")
RUN = RunId("swp_1")
IDENT = CallId("swp_1/t3-1-1")
CHEAP = Price(input=1_000_000_000, output=2_000_000_000)
"""A token in is a thousand nanos, one out two thousand."""


@dataclass
class House:
    """A `Caller` whose models each answer by a rule: from what is asked to a text, or to why there is none."""

    rules: Mapping[str, Callable[[CallSpec], str | Failure]]
    prices: Mapping[str, Price | None] = field(default_factory=dict)
    asked: list[CallSpec] = field(default_factory=list)
    cached: bool = False

    async def call(self, spec: CallSpec, listener: Listener, stop: asyncio.Event) -> CallResult:
        self.asked.append(spec)
        said = self.rules[spec.models[0]](spec)
        line = (
            Line(failure=said)
            if isinstance(said, Failure)
            else Line(said, usage=Usage(input_tokens=7, output_tokens=3))
        )
        alone = ScriptedCaller({spec.models[0]: [line]}, prices={spec.models[0]: CHEAP})
        return await alone.call(spec, listener, stop)

    async def resolve(self, workspace: Workspace, model: ModelName) -> ModelInfo:
        del workspace
        if model not in self.rules:
            raise ModelNotFound(f"there is no {model}", metadata={"model": model})
        return ModelInfo(name=model, price=self.prices.get(model, CHEAP), default_max_tokens=100)

    async def estimate(self, spec: CallSpec) -> Estimate:
        info = await self.resolve(spec.workspace, spec.models[0])
        price = info.price or Price(input=0, output=0)
        found = await ScriptedCaller({info.name: []}, prices={info.name: price}).estimate(spec)
        return Estimate(expected=found.expected, worst=found.worst, cached=self.cached, info=info)


def last(call: CallSpec) -> str:
    """Return the last message: what a model is asked."""
    return call.messages[-1].content


def means(caller: House, spec: SweepSpec) -> Means:
    return Means(caller, HOME, RUN, spec)


def choices(name: str, *labels: str, **texts: str) -> SearchDimension:
    """Return a dimension of labels, and of labels with texts."""
    made = [Choice(label=label) for label in labels] + [Choice(label=name, text=text) for name, text in texts.items()]
    return SearchDimension(name=name, choices=Choices(choices=tuple(made)))


def panels(**models: Sequence[str]) -> SearchDimension:
    """Return the dimension of who sits on the panel."""
    made = [Choice(label=label, models=tuple(map(ModelName, each))) for label, each in models.items()]
    return SearchDimension(name="panel", choices=Choices(choices=tuple(made)))


def real(name: str, low: float, high: float) -> SearchDimension:
    return SearchDimension(name=name, float_range=FloatRange(low=low, high=high))


def whole(name: str, low: int, high: int) -> SearchDimension:
    return SearchDimension(name=name, int_range=IntRange(low=low, high=high))
