"""What the Experiments place asks of the server, as a person. The twin in memory is `whet_tui.memory_sweeps`, the one
over gRPC `whet_tui.grpc_sweeps`.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from whet_tui.sweep_values import (
        Action,
        CasePage,
        Document,
        ExportFormat,
        Heard,
        ReportFormat,
        Retuning,
        Sweep,
        TrialPage,
    )


class SweepDesk(Protocol):
    """Every method raises `DeskError`."""

    async def sweeps(self) -> "Sequence[Sweep]":
        """The latest sweeps of the workspace, newest first, without what was done to them."""
        ...

    async def sweep(self, run_id: str) -> "Sweep":
        """One sweep as it stands."""
        ...

    async def trials(self, run_id: str, token: str = "", size: int = 200, *, front: bool = False) -> "TrialPage":
        """A page of its trials by number. `front`: only those on the Pareto front."""
        ...

    def watch(self, run_id: str) -> AsyncGenerator["Heard", None]:
        """What happens to a sweep from now on; the last one says that it has ended."""
        ...

    async def cases(self, run_id: str, trials: Sequence[int], token: str = "", *, differing: bool) -> "CasePage":
        """A page of cases with what each trial answered. `differing`: only those that were scored differently, the
        greatest difference first.
        """
        ...

    async def control(self, run_id: str, action: "Action", request_id: str, retuning: "Retuning | None") -> "Sweep":
        """Steer a sweep; durable when this returns, and the same `request_id` again changes nothing."""
        ...

    async def export(self, run_id: str, trial: int | None, kind: "ExportFormat") -> "Document":
        """The configuration of a trial, without one of the best."""
        ...

    async def report(self, run_id: str, kind: "ReportFormat") -> "Document": ...
