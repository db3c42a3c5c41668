"""An audit as asked for, as it is kept, and as it stands."""

from typing import Final

from whet_server.audit.variants import Comparison
from whet_server.dataset.spec import DatasetRef
from whet_server.judge.spec import DEFAULT_CONCURRENCY
from whet_server.judging import AuditAxis, AuditReport, Item, Judge
from whet_server.values import Failure, Nanos, Run, Value

DEFAULT_ITEMS: Final = 40
"""As the contract says: items used for each axis. A bias of a fifth of the scale is then seen nearly always."""


class AuditSpec(Value):
    """The wire's `AuditSpec` after unpacking."""

    judge: Judge
    items: tuple[Item, ...] = ()
    dataset: DatasetRef | None = None
    axes: tuple[AuditAxis, ...] = tuple(AuditAxis)
    items_per_axis: int = DEFAULT_ITEMS
    concurrency: int = DEFAULT_CONCURRENCY
    cap: Nanos | None = None


class Purpose(Value):
    """What an audit's run keeps beside its items: what is compared with what."""

    judge: Judge
    axes: tuple[AuditAxis, ...]
    comparisons: tuple[Comparison, ...]


class AuditView(Value):
    """An audit as it stands. `report` is there from its end on."""

    run: Run
    judge: Judge
    verdicts: int
    planned: int
    report: AuditReport | None = None
    failure: Failure | None = None
