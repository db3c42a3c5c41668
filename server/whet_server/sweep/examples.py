"""Few-shot examples: which solved cases are shown before a question.

A case is never an example of itself, nor is another row with the same input, whatever its blanks and capitals: its
answer would be given away.
"""

import asyncio
from collections.abc import Sequence
from itertools import islice
from random import Random
from typing import Any, Final

from whet_server.judging import Item

FIRST: Final = "first"
RANDOM: Final = "random"
SIMILAR: Final = "similar"
SELECTIONS: Final = (FIRST, RANDOM, SIMILAR)
_AT_ONCE: Final = 200
"""Examples that are compared before others get their turn: about a millisecond."""
_KEPT: Final = 20_000
"""Cases whose nearest examples are remembered: every trial asks for the same ones."""
_NEAREST: Final = 100
"""Examples of a case that are remembered, as many as can be shown."""


class Examples:
    """Solved cases to choose from: those with a reference. `seed` draws the random ones, once for all cases."""

    def __init__(self, items: Sequence[Item], seed: int) -> None:
        self.items = tuple(item for item in items if item.reference)
        self._ordered = [(_normal(item.input), item) for item in self.items]
        self._drawn = list(self._ordered)
        Random(seed).shuffle(self._drawn)  # noqa: S311 -- it draws examples, no secrets
        self._near: dict[str, tuple[Item, ...]] = {}

    async def pick(self, count: int, selection: str, item: Item) -> tuple[Item, ...]:
        """Return the examples for a case, in the order in which they are shown: of similar ones the nearest last."""
        if not count:
            return ()
        if selection == SIMILAR:
            return tuple(reversed((await self._nearest(item))[:count]))
        own = _normal(item.input)
        order = self._drawn if selection == RANDOM else self._ordered
        return tuple(islice((example for text, example in order if text != own), count))

    def longest(self, count: int) -> tuple[Item, ...]:
        """Return the examples that make the longest prompt."""
        return tuple(
            sorted(self.items, key=lambda item: len(item.input) + len(item.reference))[-count:] if count else ()
        )

    async def _nearest(self, item: Item) -> tuple[Item, ...]:
        own = _normal(item.input)
        if own not in self._near:
            found = await self._compared(own)
            if len(self._near) >= _KEPT:
                self._near.clear()
            self._near[own] = found
        return self._near[own]

    async def _compared(self, own: str) -> tuple[Item, ...]:
        """Compare a text with all examples by the words that both have, whatever their order."""
        from rapidfuzz import fuzz  # loaded when somebody asks for it

        scored: list[tuple[float, int]] = []
        for at, (text, _) in enumerate(self._ordered):
            if at % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            if text != own:
                scored.append((-fuzz.token_set_ratio(own, text), at))
        return tuple(self.items[at] for _, at in sorted(scored)[:_NEAREST])


def shown(example: Item) -> dict[str, Any]:
    """Return an example as templates see it."""
    return {"input": example.input, "output": example.reference, "fields": dict(example.fields)}


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()
