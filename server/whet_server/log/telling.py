"""Telling watchers how far a run is: at once when nothing was told lately, else soon, and never more often."""

import asyncio
from collections.abc import Callable


class Telling:
    """Calls `tell` after `news()`, at most once in `every` seconds."""

    def __init__(self, tell: Callable[[], None], every: float) -> None:
        self._tell = tell
        self._every = every
        self._timer: asyncio.TimerHandle | None = None
        self._news = False

    def news(self) -> None:
        """There is something to tell."""
        self._news = True
        if self._timer is None:
            self._tick()

    def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        """Tell if there is something to tell, and come back; stop when there was nothing."""
        if not self._news:
            self._timer = None
            return
        self._news = False
        self._tell()
        self._timer = asyncio.get_running_loop().call_later(self._every, self._tick)
