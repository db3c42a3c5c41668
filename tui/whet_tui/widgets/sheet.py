"""A table laid out to the width there is: what matters least is left out first, one column takes what remains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from whet_tui.entries import Money, dollars
from whet_tui.widgets.ink import Ink

InkName: TypeAlias = Literal["", "muted", "accent", "good", "warning", "bad", "simulated"]

_GAP: Final = 2
_LEAST: Final = 24
"""Columns that the growing column keeps before another one is left out."""


class Cell(NamedTuple):
    """Words that have passed the door, and what colour they mean."""

    text: str
    ink: InkName = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    title: str
    right: bool = False
    most: int = 40
    """Columns of the terminal that it takes at most, unless it grows."""
    grows: bool = False
    rank: int = 0
    """What is left out first when there is too little room: the highest; 0 stays."""


class Sheet:
    """A painter of rows of cells."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
        self._columns = columns
        self._rows = rows
        self._fitted: tuple[int, list[int]] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sheet) and (self._columns, self._rows) == (other._columns, other._rows)

    __hash__ = None  # type: ignore[assignment]  # Python's own way to say that it cannot be a key

    def head(self, width: int, ink: Ink) -> Strip:
        return self.line([Cell(column.title, "muted") for column in self._columns], width, ink)

    def row(self, place: int, width: int, ink: Ink) -> Strip:
        return self.line(self._rows[place], width, ink)

    def text(self, width: int, ink: Ink) -> Text:
        """The whole table with its heading, for a widget that draws text."""
        strips = [self.head(width, ink), *(self.row(place, width, ink) for place in range(len(self._rows)))]
        lines = [Text.assemble(*((text, style or "") for text, style, _ in strip), no_wrap=True) for strip in strips]
        return Text("\n").join(lines)

    def line(self, cells: Sequence[Cell], width: int, ink: Ink) -> Strip:
        """Return a row of other cells in the same columns, which are as wide as the sheet's own rows want."""
        segments: list[Segment] = []
        for cell, column, room in zip(cells, self._columns, self._widths(width), strict=True):
            if room:
                style = getattr(ink, cell.ink) if cell.ink else Style.null()
                segments += [Segment(" " * _GAP)] if segments else []
                segments.append(Segment(_fitted(cell.text, room, right=column.right), style))
        return Strip(segments)

    def _widths(self, width: int) -> list[int]:
        """The width of each column, 0 for one that is left out."""
        if self._fitted is None or self._fitted[0] != width:
            self._fitted = (width, self._fit(width))
        return self._fitted[1]

    def _fit(self, width: int) -> list[int]:
        wanted = [
            max(cell_len(column.title), *(cell_len(row[place].text) for row in self._rows))
            if self._rows
            else cell_len(column.title)
            for place, column in enumerate(self._columns)
        ]
        kept = set(range(len(self._columns)))
        widths = [
            want if column.grows else min(want, column.most) for want, column in zip(wanted, self._columns, strict=True)
        ]
        while True:
            fixed = sum(widths[place] for place in kept if not self._columns[place].grows)
            room = width - fixed - _GAP * (len(kept) - 1)
            dispensable = [place for place in kept if self._columns[place].rank]
            growing = [place for place in kept if self._columns[place].grows]
            if room >= sum(min(widths[place], _LEAST) for place in growing) or not dispensable:
                break
            kept.remove(max(dispensable, key=lambda place: self._columns[place].rank))
        share = max(1, room // len(growing)) if growing else 0
        return [
            0 if place not in kept else share if self._columns[place].grows else widths[place]
            for place in range(len(self._columns))
        ]


def cost(money: Money) -> str:
    """Money for a narrow column: what is unknown has a question mark."""
    told = dollars(money.settled) + (f" + {dollars(money.unknown)}?" if money.unknown else "")
    return told + " + ?" * bool(money.unpriced)


def _fitted(text: str, width: int, *, right: bool) -> str:
    if cell_len(text) > width:
        return set_cell_size(text, max(0, width - 1)) + "…"
    padding = " " * (width - cell_len(text))
    return padding + text if right else text + padding
