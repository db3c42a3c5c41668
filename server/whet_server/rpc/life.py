"""The life of a server as calls see it: it takes up what a crash left, serves, drains and closes.

When it stops it refuses what is new, tells who watches, lets runs end, and only then closes streams.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from enum import IntEnum

from whet.v1 import event_pb2
from whet_server.errors import Draining
from whet_server.log.log import Batch
from whet_server.rpc.convert.events import batch_message
from whet_server.rpc.convert.values import duration


class Phase(IntEnum):
    """The life of a server; it only goes forward."""

    RECOVERING = 0
    SERVING = 1
    DRAINING = 2
    CLOSING = 3


class _PhaseOverError(Exception):
    """The server left the phase while a stream waited."""


class Life:
    """The phase the server is in, and a way for streams to hear of the next one while they wait."""

    def __init__(self) -> None:
        self.phase = Phase.RECOVERING
        self._recovered = asyncio.Event()
        self._until = 0.0
        self._waiting: set[asyncio.Timeout] = set()

    def recovered(self) -> None:
        """Say that every run that a crash left has been taken up."""
        self._recovered.set()
        if self.phase is Phase.RECOVERING:
            self._enter(Phase.SERVING)

    async def taken_up(self) -> None:
        """Wait until every run has its writer again: until then a watch would end before its run does."""
        await self._recovered.wait()

    def drain(self, seconds: float) -> None:
        """Refuse new work and tell open streams that the server answers for `seconds` more."""
        self._until = asyncio.get_running_loop().time() + seconds
        self._enter(Phase.DRAINING)

    def close(self) -> None:
        """End open streams."""
        self._enter(Phase.CLOSING)

    def admit(self) -> None:
        """Raise `Draining` unless new work is taken."""
        if self.phase > Phase.SERVING:
            raise Draining("The server is about to stop and takes no new work. Call again in a moment.")

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            waiting.reschedule(now)

    async def follow(
        self, watch: Callable[[str], AsyncIterator[Batch]], cursor: str
    ) -> AsyncGenerator[event_pb2.EventBatch, None]:
        """Yield the batches of `watch(cursor)`. When the server begins to stop, yield a notice, attach again after the
        last batch and go on until the run ends, so that one which needs a second more loses nothing. When the server
        closes, yield what has happened by then and end.
        """
        await self.taken_up()
        while True:
            phase = self.phase
            batches = watch(cursor)
            try:
                while (batch := await self._next(batches, phase)) is not None:
                    cursor = batch.next_cursor
                    yield batch_message(batch)
                    if phase is Phase.CLOSING and batch.caught_up:
                        return
            except _PhaseOverError:
                yield self._notice(cursor)
            else:
                return
            finally:
                if isinstance(batches, AsyncGenerator):
                    await batches.aclose()

    async def _next(self, batches: AsyncIterator[Batch], phase: Phase) -> Batch | None:
        """Return the next batch, or None after the last; stop waiting for it as soon as the server leaves `phase`."""
        if self.phase is not phase:
            raise _PhaseOverError
        try:
            async with asyncio.timeout(None) as waiting:
                self._waiting.add(waiting)
                try:
                    return await anext(batches, None)
                finally:
                    self._waiting.discard(waiting)
        except TimeoutError:
            if waiting.expired():
                raise _PhaseOverError from None
            raise

    def _notice(self, cursor: str) -> event_pb2.EventBatch:
        left = max(self._until - asyncio.get_running_loop().time(), 0.0) if self.phase is Phase.DRAINING else 0.0
        drain = event_pb2.Drain(time_left=duration(int(left * 1e9)), resumable=True)
        return event_pb2.EventBatch(next_cursor=cursor, drain=drain)
