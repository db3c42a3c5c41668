"""What one watcher has still to be told."""

import asyncio
from collections.abc import Sequence
from typing import Final

from whet_server.log.events import (
    BranchDelta,
    BranchFinished,
    BranchProgress,
    DraftDelta,
    DraftStarted,
    Event,
    JudgementProgress,
    LivePayload,
    RunFinished,
    SweepProgress,
    SynthesisFinished,
)

FLUSH_EVENTS: Final = 32
"""A batch this large goes out without waiting for more."""
FLUSH_SECONDS: Final = 0.025
"""Longest wait for more events: below what an eye can see, long enough to gather tokens of many branches."""
BACKLOG_EVENTS: Final = 4096
"""Durable events that wait for one watcher in memory. One that is further behind reads them from the store again."""
_AT_ONCE: Final = (BranchFinished, DraftStarted, SynthesisFinished, RunFinished)


class _Text:
    """Deltas of one branch or draft that follow each other, not yet joined."""

    __slots__ = ("end", "first", "pieces", "time_ns")

    def __init__(self, first: BranchDelta | DraftDelta, time_ns: int) -> None:
        self.first = first
        self.time_ns = time_ns
        self.pieces = [first.text]
        self.end = first.offset + len(first.text)

    def event(self) -> Event:
        first = self.first
        if len(self.pieces) == 1:
            return Event(sequence=0, time_ns=self.time_ns, payload=first)
        text = "".join(self.pieces)
        joined: LivePayload = (
            BranchDelta(branch_id=first.branch_id, offset=first.offset, text=text)
            if isinstance(first, BranchDelta)
            else DraftDelta(revision=first.revision, offset=first.offset, text=text)
        )
        return Event(sequence=0, time_ns=self.time_ns, payload=joined)


class Tap:
    """The buffer between a run's writer, which never waits, and one watcher, which may be slow.

    Durable events wait in order. Live events are merged: the newest progress of each branch, and each branch's deltas
    as one. So a slow watcher gets larger batches, and what waits for it is never more than the run's text.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending: dict[object, Event | _Text] = {}
        self._durable = 0
        self._since = 0.0  # when the first event that waits came
        self._ripe = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.overflowed = False
        """More durable events came than may wait here; they were dropped, and everything must be read again."""

    def put_durable(self, events: Sequence[Event]) -> None:
        if self.overflowed:
            return
        self._durable += len(events)
        if self._durable > BACKLOG_EVENTS:
            self.restart()
            self.overflowed = True
            self._ripen()
            return
        for event in events:
            self._pending[event.sequence, None] = event
        self._noted(at_once=any(isinstance(event.payload, _AT_ONCE) for event in events))

    def put_live(self, payload: LivePayload, time_ns: int) -> None:
        if isinstance(payload, BranchProgress | JudgementProgress | SweepProgress):
            of = payload.branch_id if isinstance(payload, BranchProgress) else None
            self._pending[of, type(payload)] = Event(sequence=0, time_ns=time_ns, payload=payload)
            self._noted(at_once=False)
            return
        key = payload.branch_id if isinstance(payload, BranchDelta) else payload.revision
        text = self._pending.get(key)
        if isinstance(text, _Text):
            if text.end == payload.offset:
                text.pieces.append(payload.text)
                text.end += len(payload.text)
                return
            # A stretch is told again or left out: what waits stays an event of its own, and merging begins anew.
            self._pending[object()] = self._pending.pop(key)
        self._pending[key] = _Text(payload, time_ns)
        self._noted(at_once=payload.offset == 0)

    def take(self) -> tuple[Event, ...]:
        """Return what waits, and forget it."""
        events = tuple(waiting.event() if isinstance(waiting, _Text) else waiting for waiting in self._pending.values())
        self._clear()
        return events

    def take_durable(self) -> tuple[Event, ...]:
        """Return the durable events that wait, and forget the live ones with them."""
        return tuple(event for event in self.take() if event.sequence)

    def restart(self) -> None:
        """Forget what waits: the watcher is about to read the store from its place on."""
        self._clear()
        self.overflowed = False

    async def wait(self, seconds: float) -> None:
        """Wait until a batch is due, at most so long."""
        if self._ripe:
            return
        due = self._loop.time() + seconds
        if self._pending:
            due = min(due, self._since + FLUSH_SECONDS)
        self._waiter = self._loop.create_future()
        self._timer = self._loop.call_at(due, self._ripen)
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._timer.cancel()

    def _clear(self) -> None:
        self._pending = {}
        self._durable = 0
        self._since = 0.0
        self._ripe = False

    def _noted(self, *, at_once: bool) -> None:
        if self._ripe:
            return
        if at_once or len(self._pending) >= FLUSH_EVENTS:
            self._ripen()
        elif not self._since:
            self._since = self._loop.time()
            if self._timer is not None and self._waiter is not None:
                self._timer.cancel()
                self._timer = self._loop.call_at(self._since + FLUSH_SECONDS, self._ripen)

    def _ripen(self) -> None:
        self._ripe = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
