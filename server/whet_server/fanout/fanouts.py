"""The fan-out's door: plan, start, watch, get, list, cancel, recover."""

import time
from collections.abc import AsyncIterator, Callable, Sequence

from whet_server.fanout.spec import BranchSpec, FanoutPlan, FanoutSpec, FanoutView
from whet_server.llm.base import Caller
from whet_server.log.log import Batch, EventLog
from whet_server.store.base import Store, Write
from whet_server.values import BranchId, ModelName, Principal, Run, RunId, RunState, Value, Workspace


class FanoutDefaults(Value):
    """What a fan-out asks when the caller does not say."""

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
    ) -> None:
        """`clock` returns Unix nanoseconds."""
        raise NotImplementedError

    async def plan(self, principal: Principal, spec: FanoutSpec) -> FanoutPlan:
        """Say what it would do and cost. Raises `InvalidField` (paths from `spec.` on), `EndpointNotFound`,
        `ModelNotFound`.
        """
        raise NotImplementedError

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
        names the `run_id` that the caller made; None makes one here).
        """
        raise NotImplementedError

    def watch(self, workspace: Workspace, run_id: RunId, cursor: str = "") -> AsyncIterator[Batch]:
        """Watch a fan-out. Raises `RunNotFound` also for runs of another kind."""
        raise NotImplementedError

    async def get(self, workspace: Workspace, run_id: RunId) -> FanoutView:
        raise NotImplementedError

    async def list(
        self, workspace: Workspace, *, state: RunState | None = None, before: RunId | None = None, limit: int = 50
    ) -> Sequence[Run]:
        raise NotImplementedError

    async def cancel(self, workspace: Workspace, run_id: RunId, branches: Sequence[BranchId] = ()) -> FanoutView:
        """Cancel branches, or all; returns once the cancelled calls have been billed and reported. A finished fan-out
        is returned as it is.
        """
        raise NotImplementedError

    async def recover(self) -> int:
        """Take up every fan-out that a crash left running; return how many. What was in flight at a model that costs
        money is not sent again.
        """
        raise NotImplementedError

    async def drain(self, seconds: float) -> None:
        """Wait for runs under way at most so long, then leave them to recovery: their calls are cut off and billed as
        unknown.
        """
        raise NotImplementedError
