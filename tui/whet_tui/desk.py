"""What the places other than the chat ask of the server, as a person. The twin in memory is `whet_tui.memory_desk`, the
one over gRPC `whet_tui.grpc_desk`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the chat knows the desk before its first frame, the values after it
    from whet_tui.calibration_values import Audit, AuditRun, Calibration
    from whet_tui.dataset_values import Dataset, RowPage, Split
    from whet_tui.desk_values import Endpoint, Following, Grouping, Probe, Run, Spending
    from whet_tui.judging_desk import JudgingDesk
    from whet_tui.sweep_desk import SweepDesk


class DeskError(Exception):
    """Nothing could be fetched or done. `str()` says why and what to do. `lasting`: asking again cannot help."""

    def __init__(self, text: str, *, lasting: bool = False) -> None:
        super().__init__(text)
        self.lasting = lasting


class Desk(Protocol):
    """Every method raises `DeskError`."""

    @property
    def judging(self) -> "JudgingDesk":
        """What the Judges place asks."""
        ...

    @property
    def sweeping(self) -> "SweepDesk":
        """What the Experiments place asks."""
        ...

    async def runs(self) -> "Sequence[Run]":
        """The latest fan-outs of the workspace, newest first."""
        ...

    def follow(self, following: "Following") -> AsyncGenerator[None, None]:
        """Let the fan-out grow; tell after each change. Ends when the run has ended. It can be left and taken up again
        with the same value: nothing is told twice.
        """
        ...

    async def cancel(self, run_id: str, branch_id: str = "") -> None:
        """Cancel one branch, or without one the whole run; returns when that is billed and reported."""
        ...

    async def endpoints(self) -> "Sequence[Endpoint]":
        """The endpoints with their models, by name."""
        ...

    async def test(self, endpoint: str) -> "Probe":
        """Ask an endpoint for its models, which costs nothing."""
        ...

    async def spending(self, grouping: "Grouping") -> "Spending": ...

    async def datasets(self, name: str = "") -> "Sequence[Dataset]":
        """The data sets by name, each with its newest version; or all versions of one, newest first."""
        ...

    async def rows(self, name: str, version: int, *, split: "Split | None" = None, token: str = "") -> "RowPage":
        """A page of rows. Without a split, all that are not under seal; a sealed hold-out is refused."""
        ...

    async def open_seal(self, name: str, version: int, reason: str) -> "Dataset":
        """Open a hold-out for good and on the record."""
        ...

    async def calibrations(self) -> "Sequence[Calibration]":
        """The latest comparisons of judges with people, newest first."""
        ...

    async def calibrate(self, run_id: str, criterion: str, request_id: str) -> "Calibration":
        """Compare the judge of a criterion with people's ratings of the same items; it is the newest from then on."""
        ...

    async def audits(self) -> "Sequence[AuditRun]":
        """The latest audits of judges, newest first."""
        ...

    async def audit(self, run_id: str) -> "Audit":
        """How an audit stands, and what it found once it has ended."""
        ...

    async def close(self) -> None: ...


DeskOpener: TypeAlias = Callable[[], Awaitable[Desk]]
"""Opens the desk, or returns the one that is open. Raises `DeskError`."""
