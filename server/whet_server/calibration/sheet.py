"""Ratings as CSV: one header line, then one rating a line. Wrong lines are told by their numbers, all of them."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Final

from whet_server.errors import InvalidField
from whet_server.judging import Rating, RatingSource
from whet_server.values import Value

COLUMNS: Final = ("item_id", "subject", "level", "preferred", "dimension", "rater", "note", "rubric")
"""What a column may be called. An empty cell is a cell left out."""
_CELL: Final = 10_000
"""The longest cell: above what any field of a rating may have."""


_TOLD: Final = 30
"""Faults that are told: what fits an answer's metadata. Of more, the numbers of all wrong lines come first."""
_RANGES: Final = 200
"""Ranges of line numbers that are told."""


class Given(Value):
    """A rating as it was given, and where it stands in the request: the field's path, and the line of the CSV."""

    rating: Rating
    path: str
    line: int = 0


class Wrong(Value):
    """What cannot be kept, and why."""

    path: str
    problem: str
    line: int = 0
    """0: not of a CSV."""


def refusal(wrong: Sequence[Wrong]) -> InvalidField:
    """Return the error that names every wrong rating, those of a CSV by their lines; the same fault is told once."""
    lines = sorted({each.line for each in wrong if each.line})
    alike: dict[tuple[str, str], list[int]] = {}
    for each in wrong:
        alike.setdefault((each.path, each.problem), []).append(each.line)
    told = [(path, _at(at, problem)) for (path, problem), at in alike.items()]
    if len(told) <= _TOLD or not lines:
        return InvalidField(*told)
    return InvalidField(("csv", f"{len(lines)} lines are wrong: {_ranges(lines)}."), *told[:_TOLD])


def _at(lines: Sequence[int], problem: str) -> str:
    """Return a fault with the lines that have it."""
    if not lines[0]:
        return problem
    return f"Line{'s' if len(lines) > 1 else ''} {_ranges(lines)}: {problem}"


def _ranges(lines: Sequence[int]) -> str:
    """Return numbers in order as `3, 7-9`."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    more = f", and more from {runs[_RANGES][0]} on" if len(runs) > _RANGES else ""
    return ", ".join(f"{low}-{high}" if high > low else str(low) for low, high in runs[:_RANGES]) + more


def read(text: str) -> tuple[list[Given], list[Wrong]]:
    """Return the ratings of a CSV, and its lines that cannot be read. Raises `InvalidField` for a header that says
    nothing.
    """
    given: list[Given] = []
    wrong: list[Wrong] = []
    for line, row in _rows(text):
        try:
            given.append(Given(rating=_rating(row), path="csv", line=line))
        except ValueError as error:
            wrong.append(Wrong(path="csv", line=line, problem=str(error)))
    return given, wrong


def _rows(text: str) -> Iterator[tuple[int, Mapping[str, str] | str]]:
    """Yield each line's number, from 1 for the header, with its cells by column or with what is wrong with it."""
    reader = csv.reader(StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    line, header = 1, None
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:  # what follows an open quotation mark is no line any more
            yield line, f"This is no CSV: {error}."
            return
        if row is None:
            break
        if row and header is None:
            header = _header(row)
        elif row and header is not None:
            full = len(row) == len(header)
            said = f"There are {len(row)} cells under {len(header)} columns."
            yield line, dict(zip(header, row, strict=True)) if full else said
        line = reader.line_num + 1
    if header is None:
        raise InvalidField(("csv", f"The first line must name columns of {', '.join(COLUMNS)}."))


def _header(row: list[str]) -> list[str]:
    header = [name.strip().lower() for name in row]
    if unknown := [name for name in header if name not in COLUMNS]:
        raise InvalidField(("csv", f"Line 1: no column is called {unknown[0]!r:.60}. Columns: {', '.join(COLUMNS)}."))
    if len(set(header)) < len(header):
        raise InvalidField(("csv", "Line 1: a column is named twice."))
    if not {"item_id", "subject"} & set(header) or not {"level", "preferred"} & set(header):
        raise InvalidField(("csv", "Line 1: there must be a column item_id and a column level or preferred."))
    return header


def _rating(row: Mapping[str, str] | str) -> Rating:
    """Raises `ValueError` that says what is wrong with the line."""
    if isinstance(row, str):
        raise ValueError(row)  # noqa: TRY004 -- a wrong line, not a wrong type
    cells = {name: cell.strip() for name, cell in row.items()}
    if long := [name for name, cell in cells.items() if len(cell) > _CELL]:
        raise ValueError(f"{long[0]} has more than {_CELL} characters.")
    level, preferred = _whole(cells, "level"), _whole(cells, "preferred")
    if (level is None) is (preferred is None):
        raise ValueError("Give a level or the preferred candidate, one of the two.")
    return Rating(
        subject=cells.get("subject", "").lower(),
        item_id=cells.get("item_id", ""),
        rubric=cells.get("rubric", ""),
        dimension=cells.get("dimension", ""),
        level=level or 0,
        preferred=preferred,
        rater=cells.get("rater", ""),
        source=RatingSource.CSV,
        note=cells.get("note", ""),
    )


def _whole(cells: Mapping[str, str], name: str) -> int | None:
    text = cells.get(name, "")
    if not text:
        return None
    if not text.removeprefix("-").isdecimal() or len(text) > 4:
        raise ValueError(f"{name} must be a whole number, not {text!r:.40}.")
    return int(text)
