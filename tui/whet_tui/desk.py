"""What the places other than the chat ask of the server, as a person. The twin in memory is `whet_tui.memory_desk`, the
one over gRPC `whet_tui.grpc_desk`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the chat knows the desk before its first frame, the values after it
    from whet_tui.desk_values import Endpoint, Following, Grouping, Probe, Run, Spending
    from whet_tui.judging_desk import JudgingDesk


class DeskError(Exception):
    """Nothing could be fetched or done. `str()` says why and what to do."""


class Desk(Protocol):
    """Every method raises `DeskError`."""

    @property
    def judging(self) -> "JudgingDesk":
        """What the Judges place asks."""
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

    async def close(self) -> None: ...


DeskOpener: TypeAlias = Callable[[], Awaitable[Desk]]
"""Opens the desk, or returns the one that is open. Raises `DeskError`."""
