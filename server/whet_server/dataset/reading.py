"""Files to rows: JSON lines and CSV. Every row keeps the number of its line, so that what is wrong can be named by it.

Nothing is guessed where a guess could change a value: what is no UTF-8, no JSON or no rectangle is told with its line.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

from whet_server.dataset.spec import ColumnType, RowFields
from whet_server.dataset.wrong import Wrong
from whet_server.errors import InvalidField, TooLarge

MAX_BYTES: Final = 64 * 1024 * 1024
"""A file's size, and its size as JSON lines: all rows are in memory while they are checked."""
MAX_ROWS: Final = 200_000
MAX_COLUMNS: Final = 1_000
MAX_DEPTH: Final = 60
"""Levels of lists and objects in a value: every reader of ours, and jsonschema's walk, gets that deep."""
_INT64: Final = 2**63
_BYTE_MARK: Final = b"\xef\xbb\xbf"
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_DIGITS: Final = 17
"""Decimal digits that a double always tells apart; a CSV cell with more stays text."""


class Line:
    """A row as it came, with where it stood: `line 17` or, in Parquet, `row 17`."""

    __slots__ = ("fields", "where")

    def __init__(self, where: str, fields: RowFields) -> None:
        self.where = where
        self.fields = fields


def text_of(data: bytes) -> str:
    """Decode a file. A UTF-8 byte order mark is no part of the text. Raises `InvalidField` with the line."""
    if data.startswith(_WIDE_MARKS):
        raise InvalidField(("line 1", "The file is UTF-16. Save it as UTF-8."))
    data = data.removeprefix(_BYTE_MARK)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidField((f"line {line}", f"This is not UTF-8 (byte {data[error.start]:#04x}).")) from None
    if (at := text.find("\0")) >= 0:
        raise InvalidField((f"line {text.count(chr(10), 0, at) + 1}", "There is a NUL byte: this is no text file."))
    return text


def read_jsonl(data: bytes, *, unit: str = "line") -> list[Line]:
    """Read one JSON object a line; blank lines are skipped. Raises `InvalidField` or `TooLarge`."""
    wrong, lines = Wrong(), []
    for number, text in enumerate(text_of(data).split("\n"), 1):
        if not text or text.isspace():
            continue
        where = f"{unit} {number}"
        try:
            fields = _DECODER.decode(text)
        except RecursionError:
            wrong.add(where, "It is nested too deeply.")
        except ValueError as error:
            wrong.add(where, f"This is no JSON: {_said(error)}.")
        else:
            if isinstance(fields, dict):
                lines.append(Line(where, fields))
                _check_count(lines)
            else:
                wrong.add(where, "Give a JSON object.")
    wrong.tell()
    return lines


def _said(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (character {error.pos + 1})"
    return str(error).rstrip(".")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} occurs twice")
    return fields


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number; write null or leave it out")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)


def _check_count(lines: Sequence[Line]) -> None:
    if len(lines) > MAX_ROWS:
        raise TooLarge(
            f"The data set has more than {MAX_ROWS} rows. Store a part of it, or several data sets.",
            metadata={"limit_rows": str(MAX_ROWS)},
        )


def read_csv(data: bytes, known: Mapping[str, ColumnType]) -> list[Line]:
    """Read a CSV file with a header. A column's type is the known one, else what all its cells are. An empty cell is
    missing. Raises `InvalidField` or `TooLarge`.
    """
    csv.field_size_limit(MAX_BYTES)
    reader = csv.reader(io.StringIO(text_of(data), newline=""), strict=True)
    header, records = _records(reader)
    wrong = Wrong()
    readers = {
        name: _cell_reader(known.get(name) or _type_of([cells[at] for _, cells in records]))
        for at, name in enumerate(header)
    }
    lines = []
    for number, cells in records:
        where, fields = f"line {number}", {}
        for name, cell in zip(header, cells, strict=True):
            if cell:
                try:
                    fields[name] = readers[name](cell)
                except (ValueError, RecursionError):
                    wrong.add(f"{where}: column {name}", f"{_short(cell)} is no {known.get(name, 'value')}.")
        lines.append(Line(where, fields))
    wrong.tell()
    return lines


def _records(reader: Any) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, and records with the line that each begins at."""
    wrong = Wrong()
    records: list[tuple[int, list[str]]] = []
    header: list[str] | None = None
    begin = 1
    try:
        for cells in reader:
            if header is None:
                header = _header(cells)
            elif len(cells) == len(header):
                records.append((begin, cells))
                _check_count(records)  # type: ignore[arg-type]  # only counted
            elif cells:
                wrong.add(f"line {begin}", f"There are {len(cells)} cells, and the header has {len(header)}.")
            begin = reader.line_num + 1
    except csv.Error as error:
        wrong.add(f"line {begin}", f"This is no CSV: {error}.")
    wrong.tell()
    return header or [], records


def _header(cells: list[str]) -> list[str]:
    for name in cells:
        if not name.strip():
            raise InvalidField(("line 1", "A column has no name."))
        if cells.count(name) > 1:
            raise InvalidField((f"line 1: column {name}", "This name stands twice in the header."))
    return cells


def _type_of(cells: Sequence[str]) -> ColumnType:
    there = [cell for cell in cells if cell]
    for kind in (ColumnType.BOOLEAN, ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.JSON):
        if there and all(_fits(cell, kind) for cell in there):
            return kind
    return ColumnType.STRING


def _fits(cell: str, kind: ColumnType) -> bool:
    """Whether the cell is of this type and nothing of how it is written would be lost."""
    try:
        value = _cell_reader(kind)(cell)
    except (ValueError, RecursionError):
        return False
    match kind:
        case ColumnType.INTEGER:
            return str(value) == cell
        case ColumnType.NUMBER:
            digits = cell.lower().partition("e")[0].replace(".", "").lstrip("-0")
            return len(digits) <= _DIGITS and (cell[0] != "0" or cell[1:2] in {"", ".", "e", "E"})
        case ColumnType.JSON:
            return cell[0] in "[{"
        case _:
            return True


def _cell_reader(kind: ColumnType) -> Any:
    return _CELLS[kind]


def _boolean(cell: str) -> bool:
    return {"true": True, "false": False}[cell] if cell in {"true", "false"} else _refuse(cell)


def _integer(cell: str) -> int:
    value = int(cell) if cell.isascii() and cell.removeprefix("-").isdigit() else _refuse(cell)
    return value if -_INT64 <= value < _INT64 else _refuse(cell)


def _number(cell: str) -> float:
    value = float(cell) if cell.isascii() and cell.lstrip("-")[:1].isdigit() and "_" not in cell else _refuse(cell)
    return value if math.isfinite(value) else _refuse(cell)


def _json(cell: str) -> Any:
    return _DECODER.decode(cell)


def _refuse(cell: str) -> NoReturn:
    raise ValueError(cell)


_CELLS: Final[Mapping[ColumnType, Any]] = {
    ColumnType.STRING: str,
    ColumnType.INTEGER: _integer,
    ColumnType.NUMBER: _number,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.JSON: _json,
}


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:39] + "…")


def depth_of(value: Any) -> int:
    """Return how many lists and objects stand in each other, without recursion."""
    depth, level = 0, [value]
    while level := [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]:
        depth += 1
    return depth


def _inside(outer: Any) -> Iterator[Any]:
    return iter(outer.values() if isinstance(outer, dict) else outer)
