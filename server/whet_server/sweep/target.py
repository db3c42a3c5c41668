"""What is optimised, as a sweep sees it: places that dimensions set, and answers to cases."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from whet_server.judging import Item
from whet_server.llm.base import ModelInfo
from whet_server.sweep.examples import Examples
from whet_server.sweep.guess import Guess
from whet_server.sweep.means import Answered, Means, field_names
from whet_server.sweep.panel import PanelTarget
from whet_server.sweep.pipeline import PipelineTarget
from whet_server.sweep.places import Place
from whet_server.sweep.spec import SweepSpec
from whet_server.sweeping import Configuration
from whet_server.values import CallId, ModelName, Nanos


class Target(Protocol):
    """A pipeline or a fan-out whose settings a sweep searches."""

    def places(self) -> Mapping[str, Place]:
        """Return the places that dimensions may set, by name."""
        ...

    async def check(self, path: str = "spec") -> dict[ModelName, ModelInfo]:
        """Check the target and its dimensions; return every model that may be asked. Raises `InvalidField`,
        `EndpointNotFound`, `ModelNotFound`, with the path of the field.
        """
        ...

    def baseline(self) -> Configuration:
        """Return what the target itself says at the dimensions' places, where it says something."""
        ...

    async def answer(
        self,
        configuration: Configuration,
        texts: Mapping[str, str],
        item: Item,
        ident: CallId,
        *,
        sample: int,
        stop: asyncio.Event,
    ) -> Answered:
        """Answer a case under a configuration. `texts` are what labels stand for that the sweep made itself. The ids
        of the calls begin with `ident`. Raises nothing for what models do; cancelling the task cuts its calls off.
        """
        ...

    async def guess(self, configuration: Configuration, item: Item) -> tuple[Guess, str]:
        """Return what answering a case is likely to cost, and a text as long as the answer is likely to be."""
        ...

    async def worst(self, item: Item) -> tuple[str, Nanos]:
        """Return the longest answer there may be to a case, whatever the configuration, and the most it can cost when
        no attempt fails.
        """
        ...


def open_target(spec: SweepSpec, means: Means, items: Sequence[Item], examples: Sequence[Item] = ()) -> Target:
    """Return the target of a spec with nothing left open. `items` are the cases, `examples` the rows that solved cases
    are taken from. Raises `TypeError` for an outside program, which answers by itself.
    """
    if spec.pipeline is not None:
        shots = Examples(examples, spec.seed)
        return PipelineTarget(spec.pipeline, spec.space, means, shots, field_names(items))
    if spec.fanout is not None:
        return PanelTarget(spec.fanout, spec.space, means, items)
    raise TypeError("an outside program answers by itself")
