"""Runs as tasks of this server: begun, watched, cancelled, taken up after a crash, drained."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec
from opentelemetry import trace

from whet_server.errors import Draining, Reason, RunNotFound, StorageUnavailable, WrongState
from whet_server.llm.paid import INTERRUPTED
from whet_server.log.events import Event, RunFinished, RunOpened
from whet_server.log.log import Batch, EventLog, RunWriter
from whet_server.store.base import Write
from whet_server.values import Failure, Principal, Run, RunId, RunKind, RunState, Workspace

CANCEL_SECONDS: Final = 30.0
"""Longest wait for cancelled calls to be billed and reported: closing a socket and one commit take milliseconds, and a
caller who waits longer is answered with how things stand."""
FAULT: Final = Failure(
    reason=Reason.INTERNAL, message="The server failed while it worked on this run; its log has the details."
)
_PAGE: Final = 500
"""Events or runs read at once."""

_logger = logging.getLogger(__name__)
_tracer = trace.get_tracer(__name__)


class Work(Protocol):
    """What a run does."""

    async def drive(self) -> None:
        """Carry the run to its end. Cancelling the task cuts every call off and leaves the run as it is, to be taken
        up again.
        """

    async def close(self, failure: Failure) -> None:
        """Close the run as FAILED, because it cannot be carried on."""


class Capability(Protocol):
    """A room whose runs the server takes up when it starts and lets end when it stops."""

    async def recover(self) -> int:
        """Take up every run that a crash left running; return how many."""
        ...

    async def drain(self, seconds: float) -> None:
        """Wait for runs under way at most so long, then leave them to recovery. Nothing is started any more."""


WorkT = TypeVar("WorkT", bound=Work)


class _Live(NamedTuple, Generic[WorkT]):
    work: WorkT
    task: asyncio.Task[None]


class Runs(Generic[WorkT]):
    """The runs of one capability; a caller that leaves does not stop them."""

    def __init__(
        self,
        log: EventLog,
        kinds: Mapping[RunKind, str],
        *,
        clock: Callable[[], int],
        on_end: Callable[[RunId], None] | None = None,
    ) -> None:
        """`kinds` names the capability's runs for people. `clock` returns Unix nanoseconds. `on_end` hears of every run
        that makes no more calls.
        """
        self._log = log
        self._kinds = kinds
        self._clock = clock
        self._on_end = on_end
        self._live: dict[RunId, _Live[WorkT]] = {}
        self._draining = False

    async def begin(
        self,
        principal: Principal,
        opened: RunOpened,
        make: Callable[[RunWriter], WorkT],
        *,
        also: Sequence[Write] = (),
    ) -> Run:
        """Start a run; it is durable when this returns, in one transaction with `also`. Its work begins meanwhile.
        Raises `Draining`, `StorageUnavailable`.
        """
        if self._draining:
            raise Draining("The server is about to stop. Call again when it is back.", retry_after=1.0)
        run = Run(
            run_id=opened.run_id,
            workspace=principal.workspace,
            kind=opened.kind,
            title=opened.title,
            state=RunState.RUNNING,
            role=opened.role,
            create_ns=self._clock(),
            request_id=opened.request_id,
        )
        writer, durable = self._log.begin(run, opened, also=also)
        task = self._launch(writer, make(writer))
        try:
            await durable
        except StorageUnavailable:
            task.cancel()
            raise
        return writer.run

    def live(self, run_id: RunId) -> WorkT | None:
        """Return what a run under way is doing."""
        live = self._live.get(run_id)
        return live.work if live else None

    async def run(self, workspace: Workspace, run_id: RunId) -> Run:
        """Return a run's row. Raises `RunNotFound` also for runs of another kind."""
        run = await self._log.run(workspace, run_id)
        if run.kind not in self._kinds:
            raise RunNotFound(f"{run_id} is no {' or '.join(self._kinds.values())}.", metadata={"run_id": run_id})
        return run

    async def opened(self, run: Run) -> Event:
        """Return the run's first event."""
        return (await self._log.events(run.workspace, run.run_id, limit=1))[0]

    async def events(self, run: Run, *, after: int = 0) -> list[Event]:
        """Return the run's durable events with a sequence above `after`."""
        events: list[Event] = []
        while page := await self._log.events(
            run.workspace, run.run_id, after=events[-1].sequence if events else after, limit=_PAGE
        ):
            events += page
        return events

    async def watch(self, workspace: Workspace, run_id: RunId, cursor: str = "") -> AsyncIterator[Batch]:
        """Watch a run. Raises `RunNotFound` also for runs of another kind."""
        await self.run(workspace, run_id)
        batches = self._log.watch(workspace, run_id, cursor)
        try:
            async for batch in batches:
                yield batch
        finally:
            if isinstance(batches, AsyncGenerator):
                await batches.aclose()

    async def list(
        self,
        workspace: Workspace,
        kind: RunKind,
        *,
        state: RunState | None = None,
        before: RunId | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """Return runs newest first, those before `before` only."""
        return await self._log.runs(workspace, kind=kind, state=state, before=before, limit=limit)

    async def settled(self, run_id: RunId, part: Awaitable[None] | None = None) -> None:
        """Wait until a run that was cancelled, or `part` of it, is at its end, at most `CANCEL_SECONDS`."""
        live = self._live.get(run_id)
        if live is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                if part is None:
                    await asyncio.wait({live.task})
                else:
                    await part

    async def check_ended(self, workspace: Workspace, run_id: RunId) -> None:
        """Raise `WrongState` for a run that is neither at its end nor under way here."""
        run = await self.run(workspace, run_id)
        if run.state is RunState.RUNNING:
            raise WrongState(
                f"{run_id} is not under way here; it is taken up at the server's next start.",
                metadata={"run_id": run_id, "state": run.state},
            )

    async def recover(self, again: Callable[[RunWriter], Awaitable[WorkT]]) -> int:
        """Take up every run that a crash left running; return how many. `again` makes the work from the record; a
        `msgspec.DecodeError` or `CannotGoOn` from it closes the run.
        """
        count = 0
        for kind in self._kinds:
            before: RunId | None = None
            while page := await self._log.runs(None, kind=kind, state=RunState.RUNNING, before=before, limit=_PAGE):
                for run in page:
                    if self._draining:
                        return count
                    count += await self._take_up(run, again)
                before = page[-1].run_id
        return count

    async def drain(self, seconds: float) -> None:
        """Wait for runs under way at most so long, then leave them to recovery: their calls are cut off and billed as
        unknown. Nothing is started any more.
        """
        self._draining = True
        if not self._live:
            return
        _, late = await asyncio.wait({live.task for live in self._live.values()}, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _take_up(self, run: Run, again: Callable[[RunWriter], Awaitable[WorkT]]) -> bool:
        """Go on with a run; return whether it was waiting for that. A run that this process started, or that ended
        since the list was read, was not.
        """
        try:
            writer = await self._log.reopen(run)
        except WrongState:
            return False
        try:
            work = await again(writer)
        except (msgspec.DecodeError, CannotGoOn) as error:
            _logger.exception("what %s was to do cannot be read or done any more; the run is closed", run.run_id)
            why = error.failure if isinstance(error, CannotGoOn) else INTERRUPTED
            await writer.finish(RunFinished(state=RunState.FAILED, failure=why, totals=writer.run.totals))
            return True
        self._launch(writer, work)
        return True

    def _launch(self, writer: RunWriter, work: WorkT) -> asyncio.Task[None]:
        run_id = writer.run.run_id
        task = asyncio.create_task(self._drive(writer.run, work), name=run_id)
        self._live[run_id] = _Live(work, task)
        return task

    async def _drive(self, run: Run, work: WorkT) -> None:
        """Own a run to its end. A run that an error ended is closed if that is still possible, and else left to
        recovery.
        """
        try:
            with _tracer.start_as_current_span(run.kind.value, attributes={"whet.run_id": run.run_id}):
                await work.drive()
        except Exception:  # the top of a run's task: nobody above it would hear, and its watchers would wait for ever
            _logger.exception("%s %s was ended by an error", self._kinds[run.kind], run.run_id)
            with contextlib.suppress(StorageUnavailable):
                await work.close(FAULT)
        finally:
            del self._live[run.run_id]
            if self._on_end is not None:
                self._on_end(run.run_id)


class CannotGoOn(Exception):
    """A run that a crash left cannot be taken up: what it needs is gone. `failure` is its end."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
