"""The clockwork that ends reservations nobody has settled in time."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from typing import Final

from whet_server.errors import StorageUnavailable
from whet_server.values import Workspace

LOOK_SECONDS: Final = 1.0
"""The longest sleep while something may expire: a wall clock can be set, and a full disk can have room again."""


class Expiry:
    """Calls `expire` for every key whose time has come. Sleeps in a task that `close` ends."""

    def __init__(self, expire: Callable[[tuple[Workspace, str]], Awaitable[None]], *, clock: Callable[[], int]) -> None:
        self._expire = expire
        self._clock = clock
        self._due: list[tuple[int, tuple[Workspace, str]]] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, expire_ns: int, key: tuple[Workspace, str]) -> None:
        heapq.heappush(self._due, (expire_ns, key))
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="ledger-expiry")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            seconds = LOOK_SECONDS
            while self._due:
                seconds = (self._due[0][0] - self._clock()) / 1e9
                if seconds > 0:
                    break
                due = heapq.heappop(self._due)
                try:
                    await self._expire(due[1])
                except StorageUnavailable:
                    heapq.heappush(self._due, due)
                    seconds = LOOK_SECONDS
                    break
            await self._sleep(min(seconds, LOOK_SECONDS))

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds if self._due else None):
                await self._changed.wait()
        except TimeoutError:
            return
