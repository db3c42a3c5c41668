"""Calls that change something: an agent's waits for a person, and a repeated one is answered as the first was."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from whet_server.rpc import calls
from whet_server.rpc.gate import Gate
from whet_server.rpc.requests import Requests, Turn

ResultT = TypeVar("ResultT")


class Changing:
    """Makes changes for the workspace that calls."""

    def __init__(self, requests: Requests, gate: Gate) -> None:
        self._requests = requests
        self._gate = gate

    async def once(
        self,
        method: str,
        request: Any,
        change: Callable[[Turn], Awaitable[ResultT]],
        again: Callable[[str], Awaitable[ResultT]],
    ) -> ResultT:
        """Return what `change` makes, which records its answer with its effect; or what `again` finds by the answer
        that the same request id recorded before. It happens whole, even if the caller leaves. Raises what the gate,
        `change` and `again` raise, and `RequestIdReused`.
        """
        return await self._requests.whole(self._once(method, request, change, again))

    async def _once(
        self,
        method: str,
        request: Any,
        change: Callable[[Turn], Awaitable[ResultT]],
        again: Callable[[str], Awaitable[ResultT]],
    ) -> ResultT:
        principal = calls.principal()
        async with self._requests.turn(principal.workspace, method, request.request_id, request) as turn:
            if turn.answer is not None:
                return await again(turn.answer)
            await self._gate.changes(principal, method, request, request_id=turn.request_id)
            return await change(turn)


async def done(_answer: str) -> None:
    """Find nothing: that it was done is the whole answer."""
