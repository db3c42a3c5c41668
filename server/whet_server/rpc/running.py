"""Calls that begin, follow and end a run: what is the same in every service that has such calls."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeAlias

from whet.v1 import event_pb2
from whet_server.errors import PlanChanged
from whet_server.log.log import Batch
from whet_server.rpc import calls
from whet_server.rpc.gate import Gate
from whet_server.rpc.life import Life
from whet_server.rpc.requests import Requests
from whet_server.store.base import Write
from whet_server.values import Forecast, Principal, Role, Run, RunId, Workspace, new_id

Watch: TypeAlias = Callable[[Workspace, RunId, str], AsyncIterator[Batch]]


class Start(Protocol):
    """Starts the run `run_id`, durable with `also` when it returns."""

    def __call__(self, *, request_id: str, run_id: RunId, also: Sequence[Write]) -> Awaitable[Run]: ...


class Running:
    """Begins, follows and ends runs for the workspace that calls."""

    def __init__(self, requests: Requests, gate: Gate, life: Life) -> None:
        self._requests = requests
        self._gate = gate
        self._life = life

    def needs_approval(self, plan: Forecast) -> bool:
        """Whether an agent would need a person's approval for what the plan says."""
        return self._gate.needs_approval(plan)

    async def begin(
        self, method: str, request: Any, prefix: str, *, plan: Callable[[], Awaitable[Forecast]], start: Start
    ) -> tuple[RunId, bool]:
        """Start a run, or find the one that this request id started; say which, and whether it is new. It happens
        whole, even if the caller leaves. Raises `PlanChanged` when the request names another plan, and what the gate,
        `plan` and `start` raise.
        """
        run_id, started = await self._requests.whole(self._begin(method, request, prefix, plan, start))
        calls.enter_run(run_id)
        return run_id, started

    def followed(
        self, watch: Watch, run_id: RunId, cursor: str = ""
    ) -> "aclosing[AsyncGenerator[event_pb2.EventBatch, None]]":
        """Return the run's batches from a cursor on, to be entered."""
        workspace = calls.principal().workspace
        return aclosing(self._life.follow(lambda at: watch(workspace, run_id, at), cursor))

    async def ending(
        self, method: str, request: Any, run: Callable[[Workspace, RunId], Awaitable[Run]]
    ) -> tuple[Workspace, RunId]:
        """Pass a call that cancels the run which it names: return that, or raise what the gate and `run` raise."""
        principal, run_id, begun_by = await self._named(request, run)
        await self._gate.cancels(principal, method, request, request_id=new_id("req"), begun_by=begun_by)
        return principal.workspace, run_id

    async def steered(
        self,
        method: str,
        request: Any,
        run: Callable[[Workspace, RunId], Awaitable[Run]],
        *,
        alone: bool,
        steer: Callable[[Sequence[Write]], Awaitable[object]],
    ) -> RunId:
        """Steer the run that the call names, once for its request id, and return it. `alone`: an agent may do it to
        what an agent began. It happens whole, even if the caller leaves. Raises what the gate, `run` and `steer` raise.
        """
        await self._requests.whole(self._steered(method, request, run, alone=alone, steer=steer))
        return RunId(request.run_id)

    async def _named(
        self, request: Any, run: Callable[[Workspace, RunId], Awaitable[Run]]
    ) -> tuple[Principal, RunId, Role]:
        """Return who calls, the run that the call names, and whose token began it. Raises what `run` raises."""
        principal, run_id = calls.principal(), RunId(request.run_id)
        calls.enter_run(run_id)
        await self._life.taken_up()
        return principal, run_id, (await run(principal.workspace, run_id)).role

    async def _steered(
        self,
        method: str,
        request: Any,
        run: Callable[[Workspace, RunId], Awaitable[Run]],
        *,
        alone: bool,
        steer: Callable[[Sequence[Write]], Awaitable[object]],
    ) -> None:
        principal, run_id, begun_by = await self._named(request, run)
        async with self._requests.turn(principal.workspace, method, request.request_id, request) as turn:
            if turn.answer is not None:
                return
            if alone:
                await self._gate.cancels(principal, method, request, request_id=turn.request_id, begun_by=begun_by)
            else:
                await self._gate.changes(principal, method, request, request_id=turn.request_id)
            await steer(turn.record(run_id))

    async def _begin(
        self, method: str, request: Any, prefix: str, plan: Callable[[], Awaitable[Forecast]], start: Start
    ) -> tuple[RunId, bool]:
        principal = calls.principal()
        async with self._requests.turn(principal.workspace, method, request.request_id, request) as turn:
            if turn.answer is not None:
                return RunId(turn.answer), False
            self._life.admit()
            if principal.role is Role.AGENT or request.plan_hash:
                found = await plan()
                if request.plan_hash not in {"", found.plan_hash}:
                    raise PlanChanged(
                        "What would run is no longer what was planned. Plan again and look at what it costs now.",
                        metadata={"expected": request.plan_hash, "actual": found.plan_hash},
                    )
                await self._gate.spends(principal, method, request, request_id=turn.request_id, plan=found)
            run_id = RunId(new_id(prefix))
            calls.enter_run(run_id)
            await start(request_id=turn.request_id, run_id=run_id, also=turn.record(run_id))
            return run_id, True
