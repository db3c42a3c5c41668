"""The event log: append, watch, verify, export.

A run has one writer, the `RunWriter` that `EventLog.open` (or `reopen`, after a crash) returns. `append` gives
durable events their sequence and hash, makes them durable and only then shows them to watchers; `emit` shows live
events at once and keeps nothing. Watching is reading the store from a cursor and then following the writer; a watcher
that falls behind gets merged deltas, never a gap among durable events.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from whet_server.log.events import DurablePayload, Event, LivePayload, RunFinished, RunOpened
from whet_server.store.base import Store, Write
from whet_server.values import Run, RunId, Value, Workspace

FLUSH_EVENTS: Final = 32
"""A batch this large goes out without waiting for more."""
FLUSH_SECONDS: Final = 0.025
"""Longest wait for more events: below what an eye can see, long enough to gather tokens of many branches."""
HEARTBEAT_SECONDS: Final = 15.0
"""An idle stream says so this often, so that proxies keep it and cursors advance."""


class Batch(Value):
    """What a watcher gets: events (none in a heartbeat), where to attach again, and whether all that was durable has
    been delivered.
    """

    events: tuple[Event, ...] = ()
    next_cursor: str = ""
    caught_up: bool = False


class Verification(Value):
    """What the check of a run's chain found."""

    valid: bool
    events_checked: int
    first_bad_sequence: int = 0
    problem: str = ""
    head_hash: bytes = b""


class RunWriter:
    """The one writer of a run."""

    run: Run
    """The run's row as of the last append."""

    snapshot: Callable[[], Sequence[LivePayload]]
    """Set by the writer's owner: the live events that bring a new watcher up to date (texts so far from offset 0,
    states)."""

    async def append(self, *payloads: DurablePayload, also: Sequence[Write] = ()) -> None:
        """Append events in one transaction with `also`; durable and shown to watchers when it returns. Safe to call
        from many tasks.
        """
        raise NotImplementedError

    def emit(self, payload: LivePayload) -> None:
        """Show a live event to whoever watches. Never waits."""
        raise NotImplementedError

    async def finish(self, finished: RunFinished, *, also: Sequence[Write] = ()) -> None:
        """Append the terminal event, close the run's row and end every watch after it."""
        raise NotImplementedError


class EventLog:
    """All runs of the server."""

    def __init__(self, store: Store, *, clock: Callable[[], int]) -> None:
        """`clock` returns Unix nanoseconds."""
        raise NotImplementedError

    async def open(self, run: Run, opened: RunOpened, *, also: Sequence[Write] = ()) -> RunWriter:
        """Create the run with its first event, in one transaction with `also` (such as the request id)."""
        raise NotImplementedError

    async def reopen(self, run: Run) -> RunWriter:
        """Take up a run that a crash left RUNNING: the writer goes on after its last durable event."""
        raise NotImplementedError

    async def run(self, workspace: Workspace, run_id: RunId) -> Run:
        """Return the run's row. Raises `RunNotFound`, also for a run of another workspace."""
        raise NotImplementedError

    async def events(self, workspace: Workspace, run_id: RunId, *, after: int = 0, limit: int = 500) -> Sequence[Event]:
        """Return durable events in order. Raises `RunNotFound`."""
        raise NotImplementedError

    def watch(self, workspace: Workspace, run_id: RunId, cursor: str = "") -> AsyncIterator[Batch]:
        """Yield batches until the terminal event has been delivered. `cursor`: empty, `now`, or a `next_cursor` of
        this run (else `CursorInvalid`).

        At once for a branch's first token and for terminal events, else by FLUSH_EVENTS or FLUSH_SECONDS. After a run
        has ended the durable events are replayed and the iteration ends.
        """
        raise NotImplementedError

    def export(self, workspace: Workspace, run_id: RunId) -> AsyncIterator[bytes]:
        """Yield whole JSON lines, about 64 KiB at a time (docs/trace-format.md)."""
        raise NotImplementedError

    async def verify(self, workspace: Workspace, run_id: RunId, expected_hash: str = "") -> Verification:
        """Read the log again from the store and check sequence, hashes, the row's head and `expected_hash`
        (hexadecimal).
        """
        raise NotImplementedError
