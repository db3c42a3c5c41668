"""Where a fan-out tells what happens: the log of its own run, or whoever has it asked as a part of something else."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from whet_server.log.events import DurablePayload, LivePayload, RunFinished
from whet_server.values import Run


class Recorder(Protocol):
    """What a fan-out needs of the writer of its run (`log.run_writer.RunWriter`)."""

    run: Run
    snapshot: Callable[[], Sequence[LivePayload]]

    def emit(self, payload: LivePayload) -> None:
        """Show a live event."""

    async def append(self, *payloads: DurablePayload) -> None:
        """Record events."""

    def post(self, *payloads: DurablePayload) -> Awaitable[None]:
        """Record events; what is returned is done when they are recorded, and must be awaited."""
        ...

    async def finish(self, finished: RunFinished) -> None:
        """Record the end."""

    async def idle(self) -> None:
        """Wait until nothing is being recorded."""
