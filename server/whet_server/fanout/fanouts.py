"""The fan-out's door: plan, start, watch, get, list, cancel, recover."""

import time
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from whet_server.errors import InvalidField
from whet_server.fanout.check import check
from whet_server.fanout.plan import Planned, estimate, filled, look_up
from whet_server.fanout.prompts import draft_budget, question_text
from whet_server.fanout.recovery import interrupted
from whet_server.fanout.run import FanoutRun
from whet_server.fanout.spec import BranchSpec, FanoutPlan, FanoutSpec, FanoutView
from whet_server.fanout.view import History, fold
from whet_server.llm.base import Caller
from whet_server.llm.paid import Paid
from whet_server.log.events import RunOpened
from whet_server.log.log import Batch, EventLog, RunWriter
from whet_server.runs import Runs
from whet_server.store.base import Store, Write
from whet_server.values import BranchId, ModelName, Principal, Run, RunId, RunKind, RunState, Value, Workspace, new_id


class FanoutDefaults(Value):
    """Whom a fan-out asks when the caller does not say."""

    panel: tuple[BranchSpec, ...]
    synthesiser: ModelName | None = None


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
        self._caller = caller
        self._store = store
        self._defaults = defaults
        self._clock = clock
        self._runs: Runs[FanoutRun] = Runs(log, {RunKind.FANOUT: "fan-out"}, clock=clock, on_end=on_end)

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
        opened = RunOpened(
            run_id=run_id or RunId(new_id("fan")),
            kind=RunKind.FANOUT,
            title=planned.spec.title,
            role=principal.role,
            request_id=request_id,
            branches=planned.branches,
            prompt=question_text(planned.spec.messages),
            synthesis=planned.spec.synthesis.mode.value,
            spec=msgspec.json.encode(planned.spec).decode(),
        )
        return await self._runs.begin(
            principal, opened, lambda writer: self._work(writer, planned.spec, History(opened)), also=also
        )

    def watch(self, workspace: Workspace, run_id: RunId, cursor: str = "") -> AsyncIterator[Batch]:
        """Watch a fan-out. Raises `RunNotFound` also for runs of another kind."""
        return self._runs.watch(workspace, run_id, cursor)

    async def get(self, workspace: Workspace, run_id: RunId) -> FanoutView:
        """Return the fan-out as it stands. Raises `RunNotFound`."""
        run = await self.run(workspace, run_id)
        return fold(await self._runs.events(run)).view(run)

    async def run(self, workspace: Workspace, run_id: RunId) -> Run:
        """Return the row of a fan-out. Raises `RunNotFound`."""
        return await self._runs.run(workspace, run_id)

    async def list(
        self, workspace: Workspace, *, state: RunState | None = None, before: RunId | None = None, limit: int = 50
    ) -> Sequence[Run]:
        """Return fan-outs newest first, those before `before` only."""
        return await self._runs.list(workspace, RunKind.FANOUT, state=state, before=before, limit=limit)

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
        if live := self._runs.live(run_id):
            live.cancel(branches)
            await self._runs.settled(run_id, live.ended(branches) if branches else None)
        else:
            await self._runs.check_ended(workspace, run_id)
        return await self.get(workspace, run_id)

    async def recover(self) -> int:
        """Take up every fan-out that a crash left running; return how many. What was in flight at a model that costs
        money is not sent again.
        """
        return await self._runs.recover(self._again)

    async def drain(self, seconds: float) -> None:
        """Wait for fan-outs under way at most so long, then leave them to recovery. Nothing is started any more."""
        await self._runs.drain(seconds)

    async def _planned(self, workspace: Workspace, spec: FanoutSpec) -> Planned:
        check(spec, self._defaults.panel)
        return await look_up(self._caller, workspace, filled(spec, self._defaults.panel, self._defaults.synthesiser))

    async def _again(self, writer: RunWriter) -> FanoutRun:
        """Make a run's work from its record."""
        run = writer.run
        history = fold(await self._runs.events(run))
        spec = msgspec.json.decode(history.opened.spec, type=FanoutSpec)
        paid = await Paid.read(self._store, self._caller, run)
        branches, drafts, history.spent = await interrupted(paid, run, spec, history)
        if branches or drafts:
            await writer.append(*branches, *drafts)
        history.take(*branches, *drafts)
        return self._work(writer, spec, history)

    def _work(self, writer: RunWriter, spec: FanoutSpec, history: History) -> FanoutRun:
        budget = draft_budget(spec.synthesis.model)
        return FanoutRun(writer, self._caller, spec, history, budget=budget, clock=self._clock)
