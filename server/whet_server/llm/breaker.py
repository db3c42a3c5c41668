"""A circuit breaker for one endpoint.

It opens after faults of the connection and of the server only: a refused request says nothing about the endpoint. Open,
it refuses calls at once; after a while one call is let through, and what becomes of it decides.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

FAULTS_TO_OPEN: Final = 5
"""Faults in a row: with one call in ten failing by chance, that happens once in a hundred thousand calls."""
TROUBLE_SECONDS: Final = 5.0
"""The row must last so long: what is over sooner is what retries are for, and a fan-out meets it many times at once."""
OPEN_SECONDS: Final = 15.0
"""Until the first probe: a restarted server is back by then."""
MAX_OPEN_SECONDS: Final = 120.0
"""The wait doubles with every failed probe up to this, so that a return is noticed within two minutes."""
PROBE_SECONDS: Final = 1.0
"""What is told to callers while a probe is under way and its end is not known."""


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """One endpoint's circuit. Times are the injected clock's seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._faults = 0
        self._trouble = 0.0
        self._opened: float | None = None
        self._wait = OPEN_SECONDS
        self._probing = False
        self._era = 0

    @property
    def state(self) -> CircuitState:
        if self._opened is None:
            return CircuitState.CLOSED
        ready = self._probing or self._clock() >= self._opened + self._wait
        return CircuitState.HALF_OPEN if ready else CircuitState.OPEN

    def refusal(self) -> float | None:
        """Return the seconds after which to come again; None when a call would be let through."""
        if self._opened is None:
            return None
        if self._probing:
            return PROBE_SECONDS
        left = self._opened + self._wait - self._clock()
        return left if left > 0 else None

    def admit(self) -> int | None:
        """Let a call through and return its ticket; None refuses it. Every ticket ends in `passed`, `failed` or
        `abandoned`; one from before the circuit changed has no say any more.
        """
        if self.refusal() is not None:
            return None
        self._probing = self._opened is not None
        return self._era

    def passed(self, ticket: int) -> None:
        """The endpoint works."""
        if ticket != self._era:
            return
        self._faults = 0
        if self._opened is not None:
            self._opened, self._probing, self._wait = None, False, OPEN_SECONDS
            self._era += 1

    def failed(self, ticket: int) -> None:
        """The connection or the server failed."""
        if ticket != self._era:
            return
        now = self._clock()
        if self._opened is not None:
            self._wait = min(MAX_OPEN_SECONDS, self._wait * 2)
        else:
            self._trouble = self._trouble if self._faults else now
            self._faults += 1
            if self._faults < FAULTS_TO_OPEN or now - self._trouble < TROUBLE_SECONDS:
                return
        self._opened, self._probing, self._faults = now, False, 0
        self._era += 1

    def abandoned(self, ticket: int) -> None:
        """The call ended without telling anything about the endpoint: another may probe."""
        if ticket == self._era:
            self._probing = False
