"""How far a judgement is: counted verdict by verdict, and told to watchers a few times a second."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from whet_server.judging import Outcome, OutcomeCount, Verdict
from whet_server.log.events import JudgementProgress
from whet_server.log.telling import Telling
from whet_server.values import Nanos, Totals

EVERY: Final = 0.2
"""Seconds between two tellings: quick enough for an eye, slow enough for a thousand verdicts a second."""


class Progress:
    """Counts verdicts. `likely` is what all questions to judges would cost, before anything is known."""

    def __init__(self, planned: int, *, likely: Nanos, tell: Callable[[JudgementProgress], None]) -> None:
        self._planned = planned
        self._likely = likely
        self._now = asyncio.get_running_loop().time
        self._begin = self._now()
        self._before = 0
        self._outcomes: Counter[Outcome] = Counter()
        self._telling = Telling(lambda: tell(self.now()), EVERY)
        self.in_flight = 0
        """Calls to judges under way."""
        self.count = 0
        self.totals = Totals()

    def keep(self, verdict: Verdict) -> None:
        """Count a verdict that was on the record before this process took the run up."""
        self._add(verdict)
        self._before += 1

    def take(self, verdict: Verdict) -> None:
        """Count a verdict, and tell of it at once or soon."""
        self._add(verdict)
        self._telling.news()

    def close(self) -> None:
        """Tell nothing more."""
        self._telling.close()

    def now(self) -> JudgementProgress:
        """Return how far it is. The rest is taken to cost and to last as long as what is in."""
        left = max(0, self._planned - self.count)
        fresh = self.count - self._before
        paid = self.totals.settled + self.totals.unknown
        share = paid / self.count if self.count else self._likely / self._planned if self._planned else 0.0
        return JudgementProgress(
            verdicts=self.count,
            planned=self._planned,
            in_flight=self.in_flight,
            totals=self.totals,
            expected_left=Nanos(round(share * left)),
            time_left_ns=round((self._now() - self._begin) / fresh * left * 1e9) if fresh else None,
            outcomes=tuple(
                OutcomeCount(outcome=outcome, count=count) for outcome in Outcome if (count := self._outcomes[outcome])
            ),
        )

    def _add(self, verdict: Verdict) -> None:
        self.count += 1
        self.totals += verdict.totals
        self._outcomes[verdict.outcome] += 1
