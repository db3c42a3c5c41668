"""A figure and its bar."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `bar` None: it is reported and not judged.

    `better` says on which side of the bar the number must lie; a figure on the bar is good.
    """

    name: str
    value: float
    unit: str
    bar: float | None = None
    better: Literal["lower", "higher"] = "lower"
    note: str = ""

    @property
    def short(self) -> bool:
        """Whether the figure misses its bar."""
        if self.bar is None:
            return False
        return self.value > self.bar if self.better == "lower" else self.value < self.bar

    def line(self) -> str:
        """Return `name value bar ok|short`."""
        bar = "-" if self.bar is None else f"{'<=' if self.better == 'lower' else '>='}{self.bar:g}{self.unit}"
        return f"{self.name:<44} {self.value:>10.3f}{self.unit:<3} {bar:>12} {'short' if self.short else 'ok'}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
