"""The history of every run: a thin room over the log."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from whet_server.log.events import Event
from whet_server.log.log import Batch, EventLog, Verification
from whet_server.values import Run, RunId, RunKind, RunState, Value, Workspace

DEFAULT_EVENTS: Final = 500
"""Events of a page when the caller does not say: a fan-out of a hundred branches fits."""
MAX_EVENTS: Final = 1_000
"""Largest page of events: even with long answers it stays a message that a client can take."""


class TracePage(Value):
    """A run and some of its events. `more`: ask again after the last sequence."""

    run: Run
    events: tuple[Event, ...]
    more: bool


class Traces:
    """Lists, reads and proves runs of every kind."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def list(
        self,
        workspace: Workspace,
        *,
        kind: RunKind | None = None,
        state: RunState | None = None,
        before: RunId | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """Return runs newest first, those before `before` only."""
        return await self._log.runs(workspace, kind=kind, state=state, before=before, limit=limit)

    async def get(self, workspace: Workspace, run_id: RunId, *, after: int = 0, limit: int = 0) -> TracePage:
        """Return the run and its events after the sequence `after`; `limit` 0 means the default. Raises
        `RunNotFound`.
        """
        run = await self._log.run(workspace, run_id)
        size = min(limit or DEFAULT_EVENTS, MAX_EVENTS)
        events = await self._log.events(workspace, run_id, after=after, limit=size + 1)
        return TracePage(run=run, events=tuple(events[:size]), more=len(events) > size)

    def watch(self, workspace: Workspace, run_id: RunId, cursor: str = "") -> AsyncIterator[Batch]:
        """Watch any run. Raises `RunNotFound` or `CursorInvalid`."""
        return self._log.watch(workspace, run_id, cursor)

    def export(self, workspace: Workspace, run_id: RunId) -> AsyncIterator[bytes]:
        """Yield the run as whole JSON lines. Raises `RunNotFound`."""
        return self._log.export(workspace, run_id)

    async def verify(self, workspace: Workspace, run_id: RunId, expected_hash: str = "") -> Verification:
        """Prove the run's record. Raises `RunNotFound`."""
        return await self._log.verify(workspace, run_id, expected_hash)
