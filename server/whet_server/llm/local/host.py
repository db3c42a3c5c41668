"""Keeps the local model: starts it for the first call, shares it, starts it again when it died, and gives its memory
back when nobody has asked for a while.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from whet_server.llm.local.child import Child, ChildFailed, Progress
from whet_server.llm.local.settings import LocalSettings, require_runtime, weights_of

_FIRST_PAUSE: Final = 0.25
"""Seconds before the start that follows the first failure: one death is an accident and should hardly be felt."""
_PAUSE_GROWTH: Final = 4
_LONGEST_PAUSE: Final = 30.0
"""Seconds: a model that keeps dying is not started more often than that."""
_MOST_FAILURES: Final = 8
"""Counted no further, since the pause has long reached its end."""


class LocalHost:
    """The one child of this process. Every call holds a `lease` while it talks to it."""

    def __init__(self, settings: LocalSettings = LocalSettings()) -> None:
        self._settings = settings
        self._child: Child | None = None
        self._starting: asyncio.Task[Child] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._leases = 0
        self._waiting: list[Progress] = []
        self._fraction = 0.0
        self._failures = 0
        self._not_before = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id while one runs."""
        return None if self._child is None or self._child.ended.is_set() else self._child.pid

    @contextlib.asynccontextmanager
    async def lease(self, progress: Progress) -> AsyncIterator[Child]:
        """Give the running child, after loading it if need be; `progress` hears how far that is, 0 to 1.

        Raises `LocalModelMissing` when something is not installed and `ChildFailed` when it does not start.
        """
        self._leases += 1
        self._keep()
        try:
            child = await self._ready(progress)
            yield child
            self._failures = 0
        finally:
            self._leases -= 1
            self._expire()

    async def close(self) -> None:
        """End the child for good. Calls that wait for it fail."""
        self._closed = True
        self._keep()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._child is not None:
            await self._child.stop()
            self._child = None
        if self._stopping is not None:
            await self._stopping

    async def _ready(self, progress: Progress) -> Child:
        if self._child is not None and not self._child.ended.is_set():
            return self._child
        if self._closed:
            raise ChildFailed("The server is stopping, and the local model with it.")
        if self._starting is None:
            self._fraction = 0.0
            self._starting = asyncio.create_task(self._start(), name="start of the local model")
        starting = self._starting
        progress(self._fraction)
        self._waiting.append(progress)
        try:
            await asyncio.wait(
                [starting]
            )  # and not the task itself: a cancelled call must not cancel everybody's start
        finally:
            self._waiting.remove(progress)
        if starting.cancelled():
            raise ChildFailed("The server is stopping, and the local model with it.")
        return starting.result()

    async def _start(self) -> Child:
        """Start a child for everybody who waits, after a pause that grows with every failure in a row. Trying again is
        the caller's business.
        """
        try:
            weights = weights_of(self._settings)
            require_runtime()
            if self._child is not None:  # it died
                self._child = None
                self._failed()
            await asyncio.sleep(self._not_before - asyncio.get_running_loop().time())
            self._child = await Child.start(self._settings, weights, self._tell)
        except ChildFailed:
            self._failed()
            raise
        else:
            return self._child
        finally:
            self._starting = None
            self._expire()

    def _failed(self) -> None:
        pause = min(_FIRST_PAUSE * _PAUSE_GROWTH**self._failures, _LONGEST_PAUSE)
        self._failures = min(self._failures + 1, _MOST_FAILURES)
        self._not_before = asyncio.get_running_loop().time() + pause

    def _tell(self, fraction: float) -> None:
        self._fraction = fraction
        for progress in self._waiting:
            progress(fraction)

    def _keep(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _expire(self) -> None:
        """Begin to count idle time when the last lease has ended."""
        if self._leases == 0 and self._child is not None and not self._closed:
            self._keep()
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._settings.idle_seconds, self._stop_idle)

    def _stop_idle(self) -> None:
        child, self._child, self._idle = self._child, None, None
        if child is not None:
            self._stopping = asyncio.create_task(child.stop(), name="stop of the idle local model")
