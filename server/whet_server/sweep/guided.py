"""Guided top-K: near one of the best so far, or anywhere at random. Nothing more is behind it, and it is named so."""

from bisect import insort
from collections.abc import Sequence
from random import Random
from typing import Final

from whet_server.sweep.history import Told
from whet_server.sweep.space import Space, at_share, drawn, share_of, within
from whet_server.sweeping import Configuration, SearchDimension, Setting

STEP: Final = 0.1
"""How far a number moves: the standard deviation, as a share of its range on its scale."""
CHANGE: Final = 0.2
"""The chance that a choice becomes another."""
_MOVES: Final = 20
"""How often it moves until something is different: integers and choices may stay where they are."""


class Guided:
    """Keeps the trials in the order of their worth."""

    def __init__(self, space: Space, top: int, explore: float) -> None:
        self._space = space
        self._top = top
        self._explore = explore
        self._ranked: list[Told] = []

    def tell(self, told: Told) -> None:
        insort(self._ranked, told, key=lambda each: each.rank)

    def suggest(self, number: int, random: Random, pending: Sequence[tuple[int, Configuration]]) -> Configuration:
        del number, pending
        if not self._ranked or random.random() < self._explore:
            return self._space.drawn(random)
        base = self._ranked[random.randrange(min(self._top, len(self._ranked)))].configuration
        return near(self._space, base, random, step=STEP, change=CHANGE)


def near(space: Space, base: Configuration, random: Random, *, step: float, change: float) -> Configuration:
    """Return a configuration that differs a little: numbers by a normal step, choices each with a chance of `change`.

    What comes to count by a change is drawn at random.
    """
    configuration = base
    for _ in range(_MOVES):
        configuration = space.walked(
            lambda dimension: _moved(dimension, base.get(dimension.name), random, step=step, change=change)
        )
        if configuration != base:
            break
    return configuration


def _moved(dimension: SearchDimension, old: Setting | None, random: Random, *, step: float, change: float) -> Setting:
    if old is None or not within(dimension, old):
        return drawn(dimension, random)
    if dimension.choices:
        return drawn(dimension, random) if random.random() < change else old
    return at_share(dimension, share_of(dimension, old) + random.gauss(0.0, step))
