"""A sweep read from its record: as it stands, and as it goes on after a crash.

Rounds of replicates are decided one after another, each from all answers of those before it. A round that a crash cut
through is decided anew, so the answers to replicates stand aside until their round is gone through again.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from whet_server.log.events import CasesFinished, Event
from whet_server.sweep.fold import SweepFold, folded
from whet_server.sweeping import TrialCase

_AT_ONCE: Final = 200
"""Events folded before others get their turn."""


class TakenUp(NamedTuple):
    """A fold without replicates, and the answers to them by trial, case and sample."""

    fold: SweepFold
    extra: dict[tuple[int, str, int], TrialCase]


async def fold_of(events: Sequence[Event]) -> SweepFold:
    """Fold a sweep's events, and let others go on meanwhile. Raises `msgspec.DecodeError`."""
    fold = folded((event.payload, event.time_ns) for event in events[:1])
    for at, event in enumerate(events[1:], start=1):
        fold.take(event.payload, event.time_ns)
        if not at % _AT_ONCE:
            await asyncio.sleep(0)
    return fold


async def taken_up(events: Sequence[Event]) -> TakenUp:
    """Fold a sweep's events to what it goes on from. Raises `msgspec.DecodeError`."""
    fold = folded((event.payload, event.time_ns) for event in events[:1])
    extra: dict[tuple[int, str, int], TrialCase] = {}
    for at, event in enumerate(events[1:], start=1):
        payload = event.payload
        if isinstance(payload, CasesFinished) and not payload.holdout:
            again = [case for case in payload.cases if case.sample > 1]
            extra.update({(payload.number, case.case_id, case.sample): case for case in again})
            if len(again) == len(payload.cases):
                continue
        fold.take(payload, event.time_ns)
        if not at % _AT_ONCE:
            await asyncio.sleep(0)
    for number, case_id, sample in extra:
        fold.trials[number].answers.pop((case_id, sample), None)
    return TakenUp(fold, extra)
