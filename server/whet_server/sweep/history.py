"""What a study knows: which configurations were asked for, and what became of them.

A suggestion is a function of this, the space and the seed, and of nothing else: not of when it was asked for, nor of
what was suggested on the way. So a study that is told again what stands on the record goes on as the first one would.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, TypeAlias

from whet_server.sweep.space import Space
from whet_server.sweeping import Configuration, Setting

Key: TypeAlias = tuple[tuple[str, Setting], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A trial that ended with values. They are turned so that lower is better."""

    number: int
    configuration: Configuration
    losses: tuple[float, ...]
    pruned_at: int | None = None
    """Cases it had when it was stopped early; its losses are then those of these cases."""

    @property
    def rank(self) -> tuple[bool, int, float, int]:
        """Sorts by how good it is at the first objective: whole trials first, then those that came furthest."""
        return self.pruned_at is not None, -(self.pruned_at or 0), self.losses[0], self.number


@dataclass(slots=True)
class History:
    """Asked and told, by numbers."""

    asked: dict[int, Configuration] = field(default_factory=dict)
    open: dict[int, Configuration] = field(default_factory=dict)
    """Asked and not told yet."""
    told: list[Told] = field(default_factory=list)
    """Those with values, in the order in which they were told."""
    keys: set[Key] = field(default_factory=set)

    def ask(self, number: int, configuration: Configuration) -> None:
        """Take in what a trial tries. One that is known already stays as it is."""
        if number in self.asked:
            return
        self.asked[number] = self.open[number] = configuration
        self.keys.add(key_of(configuration))

    def tell(self, number: int, losses: Sequence[float] | None, pruned_at: int | None) -> Told | None:
        """Return what it now knows; None for a trial without values, which teaches nothing."""
        configuration = self.open.pop(number)
        if losses is None:
            return None
        told = Told(number=number, configuration=configuration, losses=tuple(losses), pruned_at=pruned_at)
        self.told.append(told)
        return told

    def pending(self, space: Space) -> list[tuple[int, Configuration]]:
        """Return what is asked and not told, within the space, by number."""
        return [(number, self.open[number]) for number in sorted(self.open) if space.contains(self.open[number])]


class Strategy(Protocol):
    """A way to choose the next configuration, made for one space. A trial outside of it is never told."""

    def tell(self, told: Told) -> None:
        """Take in one more trial."""

    def suggest(self, number: int, random: Random, pending: Sequence[tuple[int, Configuration]]) -> Configuration:
        """Return a configuration for a trial. All its chance comes from `random`."""


def key_of(configuration: Configuration) -> Key:
    """Return what two equal configurations have in common."""
    return tuple(sorted(configuration.items()))


def random_of(seed: int, *parts: int | str) -> Random:
    """Return a source of chance that depends on these alone, alike on every machine."""
    text = "/".join(str(part) for part in (seed, *parts))
    return Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))  # noqa: S311 -- no secret: it must come again
