"""How fast an endpoint and a model may be asked: calls at once, requests a minute, tokens a minute.

Calls at once adapt: a provider that answers 429 is asked by fewer, and by more again while it copes. Waiting is first
come, first served, and giving up a wait never costs a place.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final

DEFAULT_CONCURRENCY: Final = 256
"""Calls at once where nobody says otherwise; the contract promises this figure."""
DECREASE: Final = 0.7
"""What an overload leaves of the calls at once: gentler than half, since many 429s tell of the same moment."""
DECREASE_WINDOW: Final = 1.0
"""Seconds in which further 429s count as the same overload: they answer calls that were sent before the first came."""
MINUTE: Final = 60.0


class Slots:
    """Calls at once, between 1 and a limit: additive increase, multiplicative decrease."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._most = most or DEFAULT_CONCURRENCY
        self._allowed = float(self._most)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._successes = 0
        self._decreased = -math.inf
        self.in_flight = 0

    @property
    def allowed(self) -> int:
        """How many calls at once are allowed right now."""
        return int(self._allowed)

    def take(self) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        if self._waiting or self.in_flight >= self.allowed:
            return False
        self.in_flight += 1
        return True

    async def wait(self) -> None:
        """Wait for a slot and take it. Whoever is cancelled while waiting holds none."""
        if self.take():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()
            elif turn in self._waiting:  # not, when a slot was given back between the cancel and this step
                self._waiting.remove(turn)
            raise

    def give_back(self) -> None:
        """Free a slot; who has waited longest gets it."""
        self.in_flight -= 1
        self._admit()

    def succeeded(self) -> None:
        """A call went well; as many as are allowed at once make room for one more."""
        self._successes += 1
        if self._successes >= self.allowed and self._allowed < self._most:
            self._successes = 0
            self._allowed = min(float(self._most), self._allowed + 1)
            self._admit()

    def overloaded(self) -> None:
        """The provider said that it was too much."""
        now = self._clock()
        if now - self._decreased < DECREASE_WINDOW:
            return
        self._decreased = now
        self._successes = 0
        self._allowed = max(1.0, float(int(self._allowed * DECREASE)))

    def resize(self, most: int) -> None:
        """Set the limit anew."""
        self._most = most or DEFAULT_CONCURRENCY
        self._allowed = float(self._most)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.in_flight < self.allowed:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)


class Bucket:
    """So many a minute. Whoever takes more than there is goes into debt and waits until it is paid off, in the order
    of coming.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._capacity = float(per_minute)
        self._level = self._capacity
        self._time = clock()

    def take(self, amount: float) -> float:
        """Take from the bucket; return the seconds to wait before going on. 0 a minute means no limit.

        More than a whole minute's worth is taken as a whole minute's worth, or it could never go.
        """
        if not self._capacity:
            return 0.0
        self._refill()
        self._level -= min(amount, self._capacity)
        return max(0.0, -self._level * MINUTE / self._capacity)

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used."""
        if self._capacity:
            self._level = min(self._capacity, self._level + min(amount, self._capacity))

    def resize(self, per_minute: int) -> None:
        """Set the limit anew, with a full bucket."""
        self._capacity = self._level = float(per_minute)
        self._time = self._clock()

    def _refill(self) -> None:
        now = self._clock()
        self._level = min(self._capacity, self._level + (now - self._time) * self._capacity / MINUTE)
        self._time = now
