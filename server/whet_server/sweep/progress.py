"""How far a sweep is, told to watchers a few times a second."""

import asyncio
from collections.abc import Callable
from typing import Final

from whet_server.log.events import SweepProgress

EVERY: Final = 0.25
"""Seconds between two tellings: quick enough for an eye, slow enough for a thousand cases a second."""


class Progress:
    """Tells `now()` whenever there is news, at once or soon."""

    def __init__(self, now: Callable[[], SweepProgress], tell: Callable[[SweepProgress], None]) -> None:
        self._now = now
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self._news = False

    def news(self) -> None:
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
        self._tell(self._now())
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._tick)
