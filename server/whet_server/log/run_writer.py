"""The one writer of a run."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from whet_server.errors import StorageUnavailable, WrongState
from whet_server.log import chain
from whet_server.log.events import (
    BranchFinished,
    DraftEnded,
    DurablePayload,
    Event,
    LivePayload,
    RunFinished,
    VerdictsReached,
)
from whet_server.log.tap import Tap
from whet_server.store.base import EventRecord, Store, Write
from whet_server.values import Run

COMMIT_EVENTS: Final = 512
"""Events of one run in one transaction at most, so that other runs get their turn."""


class Ends(Protocol):
    """Who is told that runs end."""

    def writes(self, run: Run) -> Sequence[Write]:
        """Return what becomes durable together with the end of `run`; asked again when that could not be written."""
        ...

    def ended(self, run: Run) -> None:
        """Hear that it is durable. Must not wait."""


class _Append(NamedTuple):
    payloads: Sequence[DurablePayload]
    payload_jsons: Sequence[bytes]
    time_ns: int
    also: Sequence[Write]
    done: "asyncio.Future[None]"


class RunWriter:
    """The one writer of a run.

    Appends wait in a queue. One task takes what is there, gives it sequences and hashes, commits it and shows it; it
    lives as long as the queue. So there is one transaction of a run at a time, a failed one takes no number from
    those behind it, and it does not matter whether an appending task is cancelled meanwhile.
    """

    run: Run
    """The run's row as of the last append."""

    snapshot: Callable[[], Sequence[LivePayload]]
    """Set by the writer's owner: the live events that bring a new watcher up to date (texts so far from offset 0,
    states)."""

    def __init__(self, store: Store, run: Run, *, clock: Callable[[], int], ends: Ends) -> None:
        """`run` is the row as it stands in the store, or is to stand there, with no event, after the first append."""
        self.run = run if run.event_count else replace(run, head_hash=chain.genesis(run.run_id))
        self.snapshot = tuple
        self._store = store
        self._clock = clock
        self._ends = ends
        self._queue: deque[_Append] = deque()
        self._committing: asyncio.Task[None] | None = None
        self._taps: list[Tap] = []
        self._finishing = False

    async def append(self, *payloads: DurablePayload, also: Sequence[Write] = ()) -> None:
        """Append events in one transaction with `also`; durable and shown to watchers when it returns. Safe to call
        from many tasks. Raises `StorageUnavailable`; then nothing was appended.
        """
        await self.post(*payloads, also=also)

    def post(self, *payloads: DurablePayload, also: Sequence[Write] = ()) -> "asyncio.Future[None]":
        """Take events in their order and return at once; what is returned is done when they are durable, and must be
        awaited. What happens because of them may be appended meanwhile: it is committed with them or after them.
        """
        if self._finishing:
            raise WrongState(f"run {self.run.run_id} has ended: nothing can be appended", metadata=self._metadata())
        if any(isinstance(payload, RunFinished) for payload in payloads):
            raise TypeError("a run ends by `finish`")
        return self._submit(payloads, also)

    def emit(self, payload: LivePayload) -> None:
        """Show a live event to whoever watches. Never waits."""
        if self._taps:
            time_ns = self._clock()
            for tap in self._taps:
                tap.put_live(payload, time_ns)

    async def finish(self, finished: RunFinished, *, also: Sequence[Write] = ()) -> None:
        """Append the terminal event, close the run's row and end every watch after it."""
        if self._finishing:
            raise WrongState(f"run {self.run.run_id} has ended already", metadata=self._metadata())
        self._finishing = True
        try:
            await self._submit((finished,), (*also, *self._ends.writes(self.run)))
        except StorageUnavailable:
            self._finishing = False
            raise

    def join(self) -> Tap:
        """Return a new watcher's buffer, which misses nothing that is shown from now on."""
        tap = Tap()
        self._taps.append(tap)
        return tap

    def leave(self, tap: Tap) -> None:
        if tap in self._taps:
            self._taps.remove(tap)

    def catch_up(self, tap: Tap) -> tuple[Event, ...]:
        """Return what became durable since the watcher joined and, in place of the live events of that time, the
        owner's snapshot.
        """
        durable = tap.take_durable()
        if self.run.end_ns is not None:
            return durable
        time_ns = self._clock()
        return durable + tuple(Event(sequence=0, time_ns=time_ns, payload=payload) for payload in self.snapshot())

    async def idle(self) -> None:
        """Wait until nothing is being committed."""
        if self._committing is not None:
            await asyncio.wait([self._committing])

    def _submit(self, payloads: Sequence[DurablePayload], also: Sequence[Write]) -> "asyncio.Future[None]":
        jsons = [chain.to_json(payload) for payload in payloads]
        done = asyncio.get_running_loop().create_future()
        self._queue.append(_Append(payloads, jsons, self._clock(), also, done))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all(), name=f"log-{self.run.run_id}")
        return done

    async def _commit_all(self) -> None:
        try:
            if self.run.event_count:
                await asyncio.sleep(0)  # what follows at once from this event goes into the same transaction
            while self._queue:
                await self._commit(self._take())
        finally:
            self._committing = None

    def _take(self) -> list[_Append]:
        taken = [self._queue.popleft()]
        events = len(taken[0].payloads)
        while self._queue and events + len(self._queue[0].payloads) <= COMMIT_EVENTS:
            taken.append(self._queue.popleft())
            events += len(taken[-1].payloads)
        return taken

    async def _commit(self, appends: list[_Append]) -> None:
        run, events, records = self._number(appends)
        also = [write for append in appends for write in append.also]
        try:
            await self._store.commit(*records, *also, run)
        except StorageUnavailable as error:
            for append in appends:
                _fail(append, StorageUnavailable(str(error), retry_after=error.retry_after))
        except Exception as error:  # noqa: BLE001 -- what one caller wants written beside its events may be wrong; all others go on
            if len(appends) > 1:
                for append in appends:
                    await self._commit([append])
            else:
                _fail(appends[0], error)
        else:
            self._show(run, events)
            for append in appends:
                if not append.done.done():
                    append.done.set_result(None)

    def _number(self, appends: list[_Append]) -> tuple[Run, list[Event], list[EventRecord]]:
        run = self.run
        sequence, head, totals = run.event_count, run.head_hash, run.totals
        events, records = [], []
        for append in appends:
            for payload, payload_json in zip(append.payloads, append.payload_jsons, strict=True):
                sequence += 1
                record = chain.make_record(payload_json, sequence, append.time_ns)
                head = chain.link(head, record)
                events.append(Event(sequence=sequence, time_ns=append.time_ns, payload=payload, hash=head))
                records.append(EventRecord(run_id=run.run_id, sequence=sequence, record=record, hash=head))
                if isinstance(payload, BranchFinished | DraftEnded):
                    totals += payload.totals
                elif isinstance(payload, VerdictsReached):
                    totals = sum((verdict.totals for verdict in payload.verdicts), totals)
                elif isinstance(payload, RunFinished):
                    totals = payload.totals
                    run = replace(run, state=payload.state, end_ns=append.time_ns)
        return replace(run, event_count=sequence, head_hash=head, totals=totals), events, records

    def _show(self, run: Run, events: list[Event]) -> None:
        self.run = run
        for tap in self._taps:
            tap.put_durable(events)
        if run.end_ns is not None:
            self._ends.ended(run)
            self._taps.clear()

    def _metadata(self) -> dict[str, str]:
        return {"run_id": self.run.run_id, "state": self.run.state.value}


def _fail(append: _Append, error: Exception) -> None:
    if not append.done.done():
        append.done.set_exception(error)
