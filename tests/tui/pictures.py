"""Pictures of screens as text that reads well in a diff: the words, the style of each cell as a letter, and below what
each letter looks like in every theme. A style is told by its colours, so nothing names a font, a host or a day.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from textual.app import App

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
"""The style that most cells have is told by a dot."""
MARKS = ("bold", "dim", "italic", "underline", "strike", "reverse")


@dataclass(frozen=True, slots=True)
class Look:
    """What a cell looks like."""

    front: str
    ground: str
    marks: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.front, "on", self.ground, self.marks) if part)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell, or two of a wide character."""

    text: str
    look: Look


Grid: TypeAlias = Sequence[Sequence[Cell]]


def taken(app: App[str]) -> Grid:
    """What is on the screen now."""
    rows: list[list[Cell]] = []
    for strip in app.screen._compositor.render_strips():
        rows.append([])
        for segment in strip:
            look = _look(segment.style or Style.null())
            rows[-1] += [Cell(character, look) for character in _characters(segment.text)]
    return rows


def words(grid: Grid) -> str:
    """The letters of a picture."""
    return "\n".join("".join(cell.text for cell in row).rstrip() for row in grid) + "\n"


def written(grids: Mapping[str, Grid]) -> str:
    """One picture in several themes as text. All have the same words, and cells in the same places."""
    first = next(iter(grids.values()))
    looks = [
        [tuple(cell.look for cell in cells) for cells in zip(*rows, strict=True)]
        for rows in zip(*grids.values(), strict=True)
    ]
    counted = Counter(look for row in looks for look in row)
    most = counted.most_common(1)[0][0]
    others = [look for look in dict.fromkeys(look for row in looks for look in row) if look != most]
    letters = {most: ".", **dict(zip(others, LETTERS[: len(others)], strict=True))}
    lines = [*words(first).splitlines(), "=" * sum(cell_len(cell.text) for cell in first[0])]
    for row, cells in zip(looks, first, strict=True):
        drawn = "".join(letters[look] * cell_len(cell.text) for look, cell in zip(row, cells, strict=True))
        lines.append(drawn.rstrip("."))
    lines.append("=" * len(lines[len(first)]))
    for look, letter in letters.items():
        lines.append(f"{letter} " + " | ".join(f"{name}: {one}" for name, one in zip(grids, look, strict=True)))
    return "\n".join(lines) + "\n"


def _characters(text: str) -> list[str]:
    """Characters, with what has no width of its own behind the one before."""
    found: list[str] = []
    for character in text:
        if found and not cell_len(character):
            found[-1] += character
        else:
            found.append(character)
    return found


def _look(style: Style) -> Look:
    marks = " ".join(mark for mark in MARKS if getattr(style, mark))
    return Look(_named(style.color), _named(style.bgcolor), marks)


def _named(color: Color | None) -> str:
    if color is None or color.is_default:
        return "default"
    return color.name if color.triplet is None else color.triplet.hex


def runs(grid: Grid) -> list[tuple[str, Look]]:
    """The pieces of a picture that look the same, line by line."""
    return [
        ("".join(cell.text for cell in cells), look)
        for row in grid
        for look, cells in groupby(row, key=lambda cell: cell.look)
    ]
