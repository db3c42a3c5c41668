"""When a failed attempt is made again: seldom, late, and never in a crowd."""

import random
from collections.abc import Callable
from typing import Final

MAX_ATTEMPTS: Final = 3
"""Attempts at one model: the third rarely helps, a fourth never."""
FIRST_BACKOFF: Final = 0.5
"""Upper end in seconds of the wait after the first attempt."""
MAX_BACKOFF: Final = 8.0
RETRY_SHARE: Final = 0.1
"""Retries for each call: a provider in trouble gets a tenth more load from us, not three times as much."""
RESERVE: Final = 10.0
"""Retries that are always there for an endpoint with little traffic."""
RESERVE_SECONDS: Final = 60.0
"""In which the reserve fills up again from nothing."""
MOST_SAVED: Final = 100.0
"""What a quiet time saves up at most, so that it cannot be spent on one flood."""


class RetryBudget:
    """How many retries an endpoint can bear: a share of its calls, and a small reserve that fills with time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._saved = RESERVE
        self._time = clock()

    def called(self) -> None:
        """A call began: it earns a share of a retry."""
        self._saved = min(MOST_SAVED, self._saved + RETRY_SHARE)

    def spend(self) -> bool:
        """Take a retry from the budget; False when it is used up."""
        now = self._clock()
        if self._saved < RESERVE:
            self._saved = min(RESERVE, self._saved + (now - self._time) * RESERVE / RESERVE_SECONDS)
        self._time = now
        if self._saved < 1:
            return False
        self._saved -= 1
        return True


def backoff(attempt: int, retry_after: float | None, source: random.Random) -> float:
    """Return the seconds to wait after the attempt of this number, from 1: full jitter above what the provider asks
    for.
    """
    most = min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** (attempt - 1))
    return (retry_after or 0.0) + source.uniform(0.0, most)
