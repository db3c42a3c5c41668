"""A sweep's way to the record: events in their order, answers gathered for some milliseconds, and the fold."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from whet_server.log.events import CasesFinished, DurablePayload
from whet_server.log.log import RunWriter
from whet_server.store.base import Write
from whet_server.sweep.fold import SweepFold
from whet_server.sweeping import TrialCase
from whet_server.values import Totals

GATHER_SECONDS: Final = 0.02
"""Answers that came in so shortly after each other share an event: each costs a row, a hash and a message."""
GATHER_CASES: Final = 32
_WAITING: Final = 16
"""Commits that may be under way before a case waits for the disk."""


class Journal:
    """Puts events on the record and into the fold, at once and in one order."""

    def __init__(self, writer: RunWriter, fold: SweepFold, totals: Totals) -> None:
        self.fold = fold
        self.totals = totals
        self.answers = 0
        self._writer = writer
        self._gathered: dict[tuple[int, bool], list[TrialCase]] = {}
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._durable: deque[asyncio.Future[None]] = deque()
        self._error: BaseException | None = None

    def post(self, *payloads: DurablePayload, now_ns: int, also: Sequence[Write] = ()) -> None:
        """Take events, behind the answers that came before them, durable together with `also`."""
        self.flush()
        for payload in payloads:
            self.fold.take(payload, now_ns)
        self._submit(*payloads, also=also)

    async def land(self, number: int, case: TrialCase, *, holdout: bool = False) -> None:
        """Take an answer. Waits only when the disk is far behind."""
        trial = self.fold.trials[number]
        (trial.holdout if holdout else trial.answers)[case.case_id, case.sample] = case
        self.totals += case.totals
        self.answers += 1
        self._gathered.setdefault((number, holdout), []).append(case)
        self._count += 1
        if self._count >= GATHER_CASES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self.flush)
        if len(self._durable) > _WAITING:
            await asyncio.wait([self._durable[0]])
        self._check()

    def flush(self) -> None:
        """Put the gathered answers on the record."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gathered:
            events = [
                CasesFinished(number=number, cases=tuple(cases), holdout=holdout)
                for (number, holdout), cases in self._gathered.items()
            ]
            self._gathered, self._count = {}, 0
            self._submit(*events)

    async def settled(self) -> None:
        """Wait until everything is durable. Raises `StorageUnavailable`."""
        self.flush()
        while self._durable:
            await asyncio.wait(list(self._durable))
        self._check()

    def close(self) -> None:
        """Take nothing more: what was gathered and is not on the record is asked again when the run is taken up."""
        if self._timer is not None:
            self._timer.cancel()

    def _submit(self, *payloads: DurablePayload, also: Sequence[Write] = ()) -> None:
        durable = self._writer.post(*payloads, also=also)
        self._durable.append(durable)
        durable.add_done_callback(self._written)

    def _written(self, durable: "asyncio.Future[None]") -> None:
        self._durable.remove(durable)
        if not durable.cancelled():
            self._error = self._error or durable.exception()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
