"""What the Judges place asks of the server, as a person. The twin in memory is `whet_tui.memory_judging`, the one over
gRPC `whet_tui.grpc_judging`.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from whet_tui.judging_values import ItemPage, ItemQuery, Judgement, Progress, Rating, Rubric


class JudgingDesk(Protocol):
    """Every method raises `DeskError`."""

    async def judgements(self) -> "Sequence[Judgement]":
        """The latest judgements of the workspace, newest first, without their sums."""
        ...

    async def items(self, query: "ItemQuery", token: str = "", size: int = 50) -> "ItemPage":
        """One judgement with its sums and a page of its items."""
        ...

    def progress(self, run_id: str) -> AsyncGenerator["Progress", None]:
        """How far a judgement is, from now on; the last one says that it has ended."""
        ...

    async def cancel(self, run_id: str) -> None:
        """Cancel a judgement; verdicts that are in stay."""
        ...

    async def rubric(self, name: str) -> "Rubric":
        """A rubric as `name` or `name@version`."""
        ...

    async def rate(self, run_id: str, item_id: str, rating: "Rating", request_id: str) -> None:
        """Keep a rating. It replaces an earlier one of the same rater, item, rubric and dimension, and is durable when
        this returns; the same `request_id` again changes nothing.
        """
        ...
