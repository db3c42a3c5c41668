"""The trials of one sweep as the terminal keeps them: folded as they are told, in order, some of them filtered out.

Nothing is sorted anew when a trial changes: it is taken out of the order and put in where it belongs. Sorting all, for
another order or filter, goes by slices, so that a key never waits for ten thousand trials.
"""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeAlias

from whet_tui.sweep_values import Goal, Objective, Trial, TrialState
from whet_tui.trial_filter import Passes

MOST: Final = 20_000
"""Trials that the terminal keeps: some thirty megabytes."""
_SLICE: Final = 500
"""Trials that are looked at before a key may have its turn: about a millisecond."""

_Place: TypeAlias = tuple[int, float, int, str]
"""Where a trial stands: its group, its value, its number, and that as the key of its row."""


class Order(StrEnum):
    """In which order trials stand, in the order in which the key goes through them."""

    BEST = "best"
    NUMBER = "number"
    COST = "cost"
    LATENCY = "latency"

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS: Final[Mapping[Order, str]] = {
    Order.BEST: "best first",
    Order.NUMBER: "latest first",
    Order.COST: "cheapest first",
    Order.LATENCY: "fastest first",
}
_GROUPS: Final[Mapping[TrialState, int]] = {
    TrialState.COMPLETE: 0,
    TrialState.RUNNING: 1,
    TrialState.PRUNED: 2,
    TrialState.CANCELLED: 3,
    TrialState.FAILED: 4,
}
"""What was stopped early stands behind what was not: its figures are of fewer cases."""


class Board:
    """Grows by `take`."""

    def __init__(self, objective: Objective) -> None:
        """`objective`: what is best is best by it."""
        self.trials: dict[int, Trial] = {}
        self.left_out = 0
        """Trials that came when there was no room any more."""
        self.ended = 0
        self.version = 0
        """Counts what has changed."""
        self.order = Order.BEST
        self.front: Collection[int] = ()
        self._goal = objective.kind
        self._passes: Passes = lambda _: True
        self._only_front = False
        self._ordered: list[_Place] = []
        self._places: dict[int, _Place] = {}
        self._arranging: set[int] | None = None
        """Trials that have changed while all are put in order."""

    @property
    def keys(self) -> Sequence[str]:
        """The numbers of the trials that pass, in order."""
        return [place[3] for place in self._ordered]

    @property
    def shown(self) -> int:
        """How many trials pass."""
        return len(self._ordered)

    def take(self, trials: Iterable[Trial]) -> None:
        """Let these trials stand as told. One that has ended does not run again."""
        for trial in trials:
            before = self.trials.get(trial.number)
            if before is None and len(self.trials) >= MOST:
                self.left_out += 1
                continue
            if before is not None and before.state is not TrialState.RUNNING and trial.state is TrialState.RUNNING:
                continue
            ended = trial.state is not TrialState.RUNNING
            self.ended += ended - (before is not None and before.state is not TrialState.RUNNING)
            self.trials[trial.number] = trial
            self.version += 1
            if self._arranging is not None:
                self._arranging.add(trial.number)
            self._put(trial)

    async def arrange(self, order: Order, passes: Passes, *, only_front: bool) -> None:
        """Put all trials into this order and leave out those that do not pass."""
        self.order, self._passes, self._only_front = order, passes, only_front
        self._arranging = set()
        places: dict[int, _Place] = {}
        trials = list(self.trials.values())
        for start in range(0, len(trials), _SLICE):
            for trial in trials[start : start + _SLICE]:
                if self._passing(trial):
                    places[trial.number] = self._place(trial)
            await asyncio.sleep(0)
        self._places, self._ordered = places, sorted(places.values())
        changed, self._arranging = self._arranging, None
        for number in changed:
            self._put(self.trials[number])
        self.version += 1

    def _put(self, trial: Trial) -> None:
        before = self._places.pop(trial.number, None)
        if before is not None:
            del self._ordered[bisect_left(self._ordered, before)]
        if self._passing(trial):
            place = self._places[trial.number] = self._place(trial)
            insort(self._ordered, place)

    def _passing(self, trial: Trial) -> bool:
        return (not self._only_front or trial.number in self.front) and self._passes(trial)

    def _place(self, trial: Trial) -> _Place:
        number = trial.number
        if self.order is Order.NUMBER:
            group, value = 0, -float(number)
        elif self.order is Order.COST:
            group, value = _ranked(trial.cost)
        elif self.order is Order.LATENCY:
            group, value = _ranked(trial.latency_ns)
        else:
            group, value = _GROUPS[trial.state], _signed(trial.value(self._goal), self._goal)
        return group, value, number, str(number)


def _ranked(value: float | None) -> tuple[int, float]:
    """What has no value stands last."""
    return (1, 0.0) if value is None else (0, value)


def _signed(value: float | None, goal: Goal) -> float:
    """The value so that less is better; without one it is worse than any."""
    if value is None:
        return float("inf")
    return -value if goal is Goal.QUALITY else value
