"""The fan-out's door: plan, start, watch, get, list, cancel, recover."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from opentelemetry import trace

from whet_server.errors import Draining, InvalidField, Reason, RunNotFound, StorageUnavailable, WrongState
from whet_server.fanout.check import check
from whet_server.fanout.plan import Planned, estimate, filled, look_up
from whet_server.fanout.prompts import draft_budget, question_text
from whet_server.fanout.recovery import INTERRUPTED, interrupted
from whet_server.fanout.run import FanoutRun
from whet_server.fanout.spec import BranchSpec, FanoutPlan, FanoutSpec, FanoutView
from whet_server.fanout.view import History, fold
from whet_server.llm.base import Caller
from whet_server.log.events import Event, RunFinished, RunOpened
from whet_server.log.log import Batch, EventLog, RunWriter
from whet_server.store.base import Store, Write
from whet_server.values import (
    BranchId,
    Failure,
    ModelName,
    Principal,
    Run,
    RunId,
    RunKind,
    RunState,
    Value,
    Workspace,
    new_id,
)

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


class FanoutDefaults(Value):
    """Whom a fan-out asks when the caller does not say."""

    panel: tuple[BranchSpec, ...]
    synthesiser: ModelName | None = None


class _Live(NamedTuple):
    run: FanoutRun
    task: asyncio.Task[None]


class Fanouts:
    """Runs fan-outs as tasks of this server; a caller that leaves does not stop them."""

    def __init__(
        self,
        log: EventLog,
        caller: Caller,
        store: Store,
        defaults: FanoutDefaults,
        *,
        clock: Callable[[], int] = time.time_ns,
        on_end: Callable[[RunId], None] | None = None,
    ) -> None:
        """`clock` returns Unix nanoseconds. `on_end` hears of every run that makes no more calls."""
        self._log = log
        self._caller = caller
        self._store = store
        self._defaults = defaults
        self._clock = clock
        self._on_end = on_end
        self._live: dict[RunId, _Live] = {}
        self._draining = False

    async def plan(self, principal: Principal, spec: FanoutSpec) -> FanoutPlan:
        """Say what it would do and cost. Raises `InvalidField` (paths from `spec.` on), `EndpointNotFound`,
        `ModelNotFound`.
        """
        planned = await self._planned(principal.workspace, spec)
        budget = draft_budget(planned.spec.synthesis.model)
        return await estimate(self._caller, principal.workspace, planned, budget)

    async def start(
        self,
        principal: Principal,
        spec: FanoutSpec,
        *,
        request_id: str,
        run_id: RunId | None = None,
        also: Sequence[Write] = (),
    ) -> Run:
        """Start it; the run is durable when this returns, in one transaction with `also` (such as the request id, which
        names the `run_id` that the caller made; None makes one here). Raises what `plan` raises, and `Draining`.
        """
        planned = await self._planned(principal.workspace, spec)
        if self._draining:
            raise Draining("The server is about to stop. Call again when it is back.", retry_after=1.0)
        run = Run(
            run_id=run_id or RunId(new_id("fan")),
            workspace=principal.workspace,
            kind=RunKind.FANOUT,
            title=planned.spec.title,
            state=RunState.RUNNING,
            role=principal.role,
            create_ns=self._clock(),
            request_id=request_id,
        )
        opened = RunOpened(
            run_id=run.run_id,
            kind=run.kind,
            title=run.title,
            role=run.role,
            request_id=request_id,
            branches=planned.branches,
            prompt=question_text(planned.spec.messages),
            synthesis=planned.spec.synthesis.mode.value,
            spec=msgspec.json.encode(planned.spec).decode(),
        )
        writer, durable = self._log.begin(run, opened, also=also)
        live = self._launch(writer, planned.spec, History(opened))
        try:
            await durable
        except StorageUnavailable:
            live.task.cancel()
            raise
        return writer.run

    async def watch(self, workspace: Workspace, run_id: RunId, cursor: str = "") -> AsyncIterator[Batch]:
        """Watch a fan-out. Raises `RunNotFound` also for runs of another kind."""
        await self._run(workspace, run_id)
        batches = self._log.watch(workspace, run_id, cursor)
        try:
            async for batch in batches:
                yield batch
        finally:
            if isinstance(batches, AsyncGenerator):
                await batches.aclose()

    async def get(self, workspace: Workspace, run_id: RunId) -> FanoutView:
        """Return the fan-out as it stands. Raises `RunNotFound`."""
        run = await self._run(workspace, run_id)
        return (await self._history(run)).view(run)

    async def list(
        self, workspace: Workspace, *, state: RunState | None = None, before: RunId | None = None, limit: int = 50
    ) -> Sequence[Run]:
        """Return fan-outs newest first, those before `before` only."""
        return await self._log.runs(workspace, kind=RunKind.FANOUT, state=state, before=before, limit=limit)

    async def cancel(self, workspace: Workspace, run_id: RunId, branches: Sequence[BranchId] = ()) -> FanoutView:
        """Cancel branches, or all; returns once the cancelled calls have been billed and reported. A finished fan-out
        is returned as it is. Raises `RunNotFound`, `InvalidField` for a branch that is none of its.
        """
        view = await self.get(workspace, run_id)
        known = {planned.branch_id for planned in view.plan}
        strangers = [
            (f"branch_ids[{at}]", f"{branch!r} is no branch of {run_id}")
            for at, branch in enumerate(branches)
            if branch not in known
        ]
        if strangers:
            raise InvalidField(*strangers)
        if live := self._live.get(run_id):
            live.run.cancel(branches)
            await _ended(live, branches)
        elif (run := await self._run(workspace, run_id)).state is RunState.RUNNING:  # now: it may have ended meanwhile
            raise WrongState(
                f"{run_id} is not under way here; it is taken up at the server's next start.",
                metadata={"run_id": run_id, "state": run.state},
            )
        return await self.get(workspace, run_id)

    async def recover(self) -> int:
        """Take up every fan-out that a crash left running; return how many. What was in flight at a model that costs
        money is not sent again.
        """
        count = 0
        before: RunId | None = None
        while page := await self._log.runs(
            None, kind=RunKind.FANOUT, state=RunState.RUNNING, before=before, limit=_PAGE
        ):
            for run in page:
                if self._draining:
                    return count
                count += await self._take_up(run)
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

    async def _planned(self, workspace: Workspace, spec: FanoutSpec) -> Planned:
        check(spec, self._defaults.panel)
        return await look_up(self._caller, workspace, filled(spec, self._defaults.panel, self._defaults.synthesiser))

    async def _run(self, workspace: Workspace, run_id: RunId) -> Run:
        run = await self._log.run(workspace, run_id)
        if run.kind is not RunKind.FANOUT:
            raise RunNotFound(f"{run_id} is no fan-out.", metadata={"run_id": run_id})
        return run

    async def _history(self, run: Run) -> History:
        events: list[Event] = []
        while page := await self._log.events(
            run.workspace, run.run_id, after=events[-1].sequence if events else 0, limit=_PAGE
        ):
            events += page
        return fold(events)

    async def _take_up(self, run: Run) -> bool:
        """Go on with a run; return whether it was waiting for that. A run that this process started, or that ended
        since the list was read, was not.
        """
        try:
            writer = await self._log.reopen(run)
        except WrongState:
            return False
        history = await self._history(run)
        try:
            spec = msgspec.json.decode(history.opened.spec, type=FanoutSpec)
        except msgspec.DecodeError:
            _logger.exception("the spec of %s cannot be read any more; the run is closed", run.run_id)
            await writer.finish(RunFinished(state=RunState.FAILED, failure=INTERRUPTED, totals=history.totals()))
            return True
        branches, drafts, history.spent = await interrupted(self._store, self._caller, run, spec, history)
        if branches or drafts:
            await writer.append(*branches, *drafts)
        history.take(*branches, *drafts)
        self._launch(writer, spec, history)
        return True

    def _launch(self, writer: RunWriter, spec: FanoutSpec, history: History) -> _Live:
        budget = draft_budget(spec.synthesis.model)
        run = FanoutRun(writer, self._caller, spec, history, budget=budget, clock=self._clock)
        run_id = writer.run.run_id
        live = self._live[run_id] = _Live(run, asyncio.create_task(self._drive(run_id, run), name=run_id))
        return live

    async def _drive(self, run_id: RunId, run: FanoutRun) -> None:
        """Own a run to its end. A run that an error ended is closed if that is still possible, and else left to
        recovery.
        """
        try:
            with _tracer.start_as_current_span("fanout", attributes={"whet.run_id": run_id}):
                await run.drive()
        except Exception:  # the top of a run's task: nobody above it would hear, and its watchers would wait for ever
            _logger.exception("fan-out %s was ended by an error", run_id)
            with contextlib.suppress(StorageUnavailable):
                await run.close(FAULT)
        finally:
            del self._live[run_id]
            if self._on_end is not None:
                self._on_end(run_id)


async def _ended(live: _Live, branches: Sequence[BranchId]) -> None:
    """Wait until the branches, or without any the run, are at their end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CANCEL_SECONDS):
            if branches:
                await live.run.ended(branches)
            else:
                await asyncio.wait({live.task})
