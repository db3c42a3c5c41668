"""The event log: append, watch, verify, export.

A run has one writer, the `RunWriter` that `EventLog.open` (or `reopen`, after a crash) returns. `append` gives
durable events their sequence and hash, makes them durable and only then shows them to watchers; `emit` shows live
events at once and keeps nothing. Watching is reading the store from a cursor and then following the writer; a watcher
that falls behind gets merged deltas, never a gap among durable events.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Final

from whet_server.errors import Reason, RunNotFound, StorageUnavailable, WrongState
from whet_server.log import chain
from whet_server.log.cursor import cursor_at, read_cursor
from whet_server.log.events import Event, RunFinished, RunOpened
from whet_server.log.prove import Verification, verify
from whet_server.log.run_writer import Ends, RunWriter
from whet_server.log.tap import FLUSH_EVENTS, FLUSH_SECONDS, Tap
from whet_server.store.base import Store, Write
from whet_server.values import Failure, Run, RunId, RunKind, RunState, Value, Workspace

HEARTBEAT_SECONDS: Final = 15.0
"""An idle stream says so this often, so that proxies keep it and cursors advance."""
PAGE: Final = 500
"""Events read from the store at a time: a few hundred kilobytes as a rule."""
EXPORT_BYTES: Final = 64 * 1024
"""A piece of an export goes out at this size: small for a message, large enough to be cheap."""


class Batch(Value):
    """What a watcher gets: events (none in a heartbeat), where to attach again, and whether all that was durable has
    been delivered.
    """

    events: tuple[Event, ...] = ()
    next_cursor: str = ""
    caught_up: bool = False


class EventLog:
    """All runs of the server."""

    def __init__(self, store: Store, *, clock: Callable[[], int]) -> None:
        """`clock` returns Unix nanoseconds."""
        self._store = store
        self._clock = clock
        self._writers: dict[RunId, RunWriter] = {}
        self._abandoning: set[asyncio.Task[None]] = set()
        self._listeners: list[Ends] = []

    def tell(self, listener: Ends) -> None:
        """Tell somebody of every run that ends from now on."""
        self._listeners.append(listener)

    def writes(self, run: Run) -> Sequence[Write]:
        """Return what becomes durable together with the end of `run`."""
        return [write for listener in self._listeners for write in listener.writes(run)]

    def ended(self, run: Run) -> None:
        """Let go of a run whose end is durable."""
        del self._writers[run.run_id]
        for listener in self._listeners:
            listener.ended(run)

    async def open(self, run: Run, opened: RunOpened, *, also: Sequence[Write] = ()) -> RunWriter:
        """Create the run with its first event, in one transaction with `also` (such as the request id). A caller that
        is cancelled here leaves no run behind, or a cancelled one.
        """
        writer, durable = self.begin(run, opened, also=also)
        try:
            await durable
        except asyncio.CancelledError:
            task = asyncio.create_task(self._abandon(writer), name=f"log-abandon-{run.run_id}")
            self._abandoning.add(task)
            task.add_done_callback(self._abandoning.discard)
            raise
        return writer

    def begin(
        self, run: Run, opened: RunOpened, *, also: Sequence[Write] = ()
    ) -> "tuple[RunWriter, asyncio.Future[None]]":
        """Create the run as `open` does, and return before it is durable: the work on it may begin, and what that
        commits first shares the run's own transaction. When the future fails there is no run.
        """
        writer = self._writer(run)
        durable = writer.post(opened, also=also)
        durable.add_done_callback(lambda done: self._begun(run.run_id, done))
        return writer, durable

    async def reopen(self, run: Run) -> RunWriter:
        """Take up a run that a crash left RUNNING: the writer goes on after its last durable event. Raises
        `WrongState` for a run that has ended or has a writer.
        """
        stored = await self._store.run(run.run_id)
        if stored is None or stored.state is not RunState.RUNNING or run.run_id in self._writers:
            raise WrongState(f"run {run.run_id} is not waiting to be taken up", metadata={"run_id": run.run_id})
        return self._writer(stored)

    async def run(self, workspace: Workspace, run_id: RunId) -> Run:
        """Return the run's row. Raises `RunNotFound`, also for a run of another workspace."""
        writer = self._writers.get(run_id)
        run = writer.run if writer else await self._store.run(run_id)
        if run is None or run.workspace != workspace or not run.event_count:
            raise RunNotFound(f"there is no run {run_id} in this workspace", metadata={"run_id": run_id})
        return run

    async def runs(
        self,
        workspace: Workspace | None,
        *,
        kind: RunKind | None = None,
        state: RunState | None = None,
        before: RunId | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """Return runs newest first, those before `before` only; of all workspaces for None, as recovery needs."""
        return await self._store.runs(workspace, kind=kind, state=state, before=before, limit=limit)

    async def events(self, workspace: Workspace, run_id: RunId, *, after: int = 0, limit: int = 500) -> Sequence[Event]:
        """Return durable events in order. Raises `RunNotFound`."""
        await self.run(workspace, run_id)
        return await self._stored(run_id, after, limit)

    async def watch(self, workspace: Workspace, run_id: RunId, cursor: str = "") -> AsyncGenerator[Batch, None]:
        """Yield batches until the terminal event has been delivered. `cursor`: empty, `now`, or a `next_cursor` of
        this run (else `CursorInvalid`).

        At once for a branch's first token and for terminal events, else by FLUSH_EVENTS or FLUSH_SECONDS. After a run
        has ended the durable events are replayed and the iteration ends; it also ends, without a terminal event, for
        a run that a crash left RUNNING and nobody has taken up. The first batch may be empty.
        """
        run = await self.run(workspace, run_id)
        writer = self._writers.get(run_id)
        position = read_cursor(run_id, cursor, run.event_count)
        if writer is None:
            async for batch in self._replay(run, position):
                yield batch
            return
        tap = writer.join()
        try:
            async for batch in self._follow(writer, tap, position):
                yield batch
        finally:
            writer.leave(tap)

    async def export(self, workspace: Workspace, run_id: RunId) -> AsyncGenerator[bytes, None]:
        """Yield whole JSON lines, about 64 KiB at a time (docs/trace-format.md)."""
        await self.run(workspace, run_id)
        lines = [chain.header_line(run_id)]
        size = len(lines[0])
        after = 0
        while page := await self._store.events(run_id, after=after, limit=PAGE):
            for event in page:
                lines.append(chain.event_line(event.record, event.hash))
                size += len(lines[-1])
                if size >= EXPORT_BYTES:
                    yield b"".join(lines)
                    lines, size = [], 0
            after = page[-1].sequence
        if lines:
            yield b"".join(lines)

    async def verify(self, workspace: Workspace, run_id: RunId, expected_hash: str = "") -> Verification:
        """Read the log again from the store and check sequence, hashes, the row's head and `expected_hash`
        (hexadecimal).
        """
        await self.run(workspace, run_id)
        return await verify(self._store, run_id, expected_hash)

    def _writer(self, run: Run) -> RunWriter:
        writer = RunWriter(self._store, run, clock=self._clock, ends=self)
        self._writers[run.run_id] = writer
        return writer

    def _begun(self, run_id: RunId, done: "asyncio.Future[None]") -> None:
        if not done.cancelled() and done.exception() is not None:
            del self._writers[run_id]

    async def _abandon(self, writer: RunWriter) -> None:
        await writer.idle()
        if not writer.run.event_count:
            del self._writers[writer.run.run_id]
            return
        left = Failure(reason=Reason.CANCELLED, message="the caller left before the run began")
        try:
            await writer.finish(RunFinished(state=RunState.CANCELLED, failure=left))
        except StorageUnavailable:
            # It stays RUNNING without an owner, as after a crash, and recovery takes it up at the next start.
            del self._writers[writer.run.run_id]

    async def _stored(self, run_id: RunId, after: int, limit: int) -> list[Event]:
        found = await self._store.events(run_id, after=after, limit=limit)
        return [chain.read_record(event.record, event.hash) for event in found]

    async def _replay(self, run: Run, position: int) -> AsyncIterator[Batch]:
        """Yield what the store has after `position`, up to the row's last event; one empty batch if that is none."""
        last = run.event_count
        while True:
            events = await self._stored(run.run_id, position, min(PAGE, last - position)) if position < last else []
            position = events[-1].sequence if events else last
            yield Batch(events=tuple(events), next_cursor=cursor_at(run.run_id, position), caught_up=position >= last)
            if position >= last:
                return

    async def _follow(self, writer: RunWriter, tap: Tap, position: int) -> AsyncIterator[Batch]:
        run_id = writer.run.run_id
        while True:  # once, and again whenever more waited than may wait in memory
            tap.restart()
            if position < writer.run.event_count:
                async for batch in self._replay(writer.run, position):
                    position = batch.events[-1].sequence if batch.events else position
                    yield batch
                    if batch.events and isinstance(batch.events[-1].payload, RunFinished):
                        return
            events = writer.catch_up(tap)
            while not tap.overflowed:
                position = max((event.sequence for event in events), default=0) or position
                caught_up = position >= writer.run.event_count
                yield Batch(events=events, next_cursor=cursor_at(run_id, position), caught_up=caught_up)
                if events and isinstance(events[-1].payload, RunFinished):
                    return
                await tap.wait(HEARTBEAT_SECONDS)
                events = tap.take()


__all__ = ["FLUSH_EVENTS", "FLUSH_SECONDS", "HEARTBEAT_SECONDS", "Batch", "EventLog", "RunWriter", "Verification"]
