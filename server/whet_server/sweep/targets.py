"""What the engine asks of a target: its own settings, what answers cost, and who answers."""

from collections.abc import Sequence
from typing import Protocol

from whet_server.judging import Item
from whet_server.llm.base import ModelInfo
from whet_server.sweep.plan import Planned
from whet_server.sweep.run import Evaluating
from whet_server.sweep.spec import SweepRecord, SweepSpec
from whet_server.sweeping import Budget, Configuration
from whet_server.values import Nanos, RunId, Value, Workspace


class Costs(Value):
    """What a sweep would cost, before its budget caps it."""

    calls: int = 0
    cache_hits: int = 0
    low: Nanos = Nanos(0)
    expected: Nanos = Nanos(0)
    worst: Nanos = Nanos(0)
    duration_ns: int = 0
    models: tuple[ModelInfo, ...] = ()


class Targets(Protocol):
    """Opens what a sweep optimises."""

    async def prepared(self, workspace: Workspace, spec: SweepSpec) -> tuple[SweepSpec, Configuration]:
        """Return the spec with the target's defaults filled in, and what the target says at the dimensions' places.
        Raises `InvalidField` for a space that does not fit the target.
        """
        ...

    async def costs(self, workspace: Workspace, planned: Planned) -> Costs:
        """Say what the planned sweep would cost."""
        ...

    async def evaluator(
        self, workspace: Workspace, run_id: RunId, record: SweepRecord, items: Sequence[Item], budget: Budget
    ) -> Evaluating | None:
        """Return what answers and scores cases; None where an outside program does. `items` are in the sweep's order.
        Raises what looking models and examples up raises.
        """
        ...
