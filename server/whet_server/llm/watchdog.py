"""The limits of time of one attempt, on one timer.

A stream of tokens moves its deadline with every token. Making and cancelling a timer each time costs more than reading
the token, so the timer stays where it is and looks again when it fires.
"""

import asyncio
from typing import Final

from whet_server.errors import Reason
from whet_server.llm.base import Request

TAIL_SECONDS: Final = 0.25
"""After the end of an answer: long enough for the last bytes, so that the connection can serve again; short enough for
nobody to notice."""
USAGE_SECONDS: Final = 5.0
"""After the announced end of the text: the usage comes at once or not at all."""
REFUSAL_SECONDS: Final = 2.0
"""For the body of an error status: the status says most of it already."""


class Watchdog:
    """Ends the wait in `scope` when the limit that applies now is over."""

    __slots__ = ("_due", "_handle", "_idle", "_loop", "_reason", "_scope", "_total")

    def __init__(self, request: Request, scope: asyncio.Timeout) -> None:
        self._loop = asyncio.get_running_loop()
        self._scope = scope
        self._idle = request.idle
        now = self._loop.time()
        self._total = now + request.total
        self._reason = Reason.CONNECT_TIMEOUT
        self._due = min(now + request.connect, self._total)
        self._handle = self._loop.call_at(self._due, self._look)

    @property
    def reason(self) -> Reason:
        """Which limit applies now: after an expiry, which one it was."""
        return Reason.TOTAL_TIMEOUT if self._due >= self._total else self._reason

    def sent(self, first_token: float) -> None:
        """The request left: the wait for the first token begins."""
        self._set(first_token, Reason.FIRST_TOKEN_TIMEOUT)

    def beat(self) -> None:
        """A token came. Called once a chunk: this is where the timer must cost nothing."""
        if self._reason is Reason.IDLE_TIMEOUT:
            self._due = min(self._loop.time() + self._idle, self._total)
        else:
            self._set(self._idle, Reason.IDLE_TIMEOUT)

    def hurry(self, seconds: float) -> None:
        """What is left to come is dispensable: wait so long for it, if the limits allow as much."""
        if self._loop.time() + seconds < self._due:
            self._set(seconds, self._reason)

    def stop(self) -> None:
        self._handle.cancel()

    def _set(self, seconds: float, reason: Reason) -> None:
        self._reason = reason
        self._due = min(self._loop.time() + seconds, self._total)
        if self._due < self._handle.when():
            self._handle.cancel()
            self._handle = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if now >= self._due:
            self._scope.reschedule(now)
        else:
            self._handle = self._loop.call_at(self._due, self._look)
