"""Columns: what rows have, and whether they have what the version before has."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from whet_server.dataset.reading import MAX_COLUMNS, MAX_DEPTH, Line, depth_of
from whet_server.dataset.spec import Column, ColumnType
from whet_server.dataset.wrong import Wrong
from whet_server.errors import InvalidField

_INT64: Final = 2**63
_WORDS: Final = {
    ColumnType.STRING: "a text",
    ColumnType.INTEGER: "a whole number",
    ColumnType.NUMBER: "a number",
    ColumnType.BOOLEAN: "true or false",
    ColumnType.JSON: "a list or an object",
}


def inferred(lines: Sequence[Line], before: Sequence[Column] = (), rows_before: int = 0) -> tuple[Column, ...]:
    """Return the columns that rows have, after those of the rows `before` them, in the order in which they are first
    seen. Whole numbers and numbers in one column are numbers. Raises `InvalidField` with every line whose value is of
    another type than those before.
    """
    types: dict[str, ColumnType | None] = {column.name: column.type for column in before}
    filled = {column.name: 0 if column.optional else rows_before for column in before}
    wrong = Wrong()
    for line in lines:
        for name, value in line.fields.items():
            if value is None:
                types.setdefault(name, None)
                continue
            filled[name] = filled.get(name, 0) + 1
            kind, known = type_of(value), types.get(name)
            joined = _joined(known, kind)
            if joined is None:
                wrong.add(f"{line.where}: column {name}", f"This is {_WORDS[kind]}; before it was {_WORDS[known]}.")  # type: ignore[index]  # None joins with all
            else:
                types[name] = joined
        if len(types) > MAX_COLUMNS:
            raise InvalidField((line.where, f"There are more than {MAX_COLUMNS} columns."))
    wrong.tell()
    return tuple(
        Column(name=name, type=kind or ColumnType.STRING, optional=filled.get(name, 0) < rows_before + len(lines))
        for name, kind in types.items()
    )


def check_columns(lines: Iterable[Line], columns: Sequence[Column], version: int) -> None:
    """Raise `InvalidField` with every line that does not fit the columns of the version before."""
    known = {column.name: column for column in columns}
    needed = [column.name for column in columns if not column.optional]
    wrong = Wrong()
    for line in lines:
        for name, value in line.fields.items():
            column = known.get(name)
            if column is None:
                wrong.add(
                    f"{line.where}: column {name}",
                    f"Version {version} has no such column. Say new_columns to accept others.",
                )
            elif value is not None and _joined(column.type, kind := type_of(value)) is not column.type:
                wrong.add(
                    f"{line.where}: column {name}",
                    f"This is {_WORDS[kind]}; in version {version} it is {_WORDS[column.type]}.",
                )
        for name in needed:
            if line.fields.get(name) is None:
                wrong.add(f"{line.where}: column {name}", f"It is missing; version {version} has it in every row.")
    wrong.tell()


def check_values(lines: Iterable[Line]) -> None:
    """Raise `InvalidField` with every value that cannot be kept in all three formats."""
    wrong = Wrong()
    for line in lines:
        for name, value in line.fields.items():
            if problem := _problem(name, value):
                wrong.add(f"{line.where}: column {name}", problem)
        if not line.fields:
            wrong.add(line.where, "The row is empty.")
    wrong.tell()


def _problem(name: str, value: Any) -> str:
    if not name:
        return "The column has no name."
    if isinstance(value, dict | list) and depth_of(value) > MAX_DEPTH:
        return f"It is nested deeper than {MAX_DEPTH} levels."
    try:
        msgspec.json.encode((name, value))
    except UnicodeEncodeError:
        return "The text holds half of a surrogate pair, which is no character."
    except OverflowError:
        return "The number does not fit 64 bits."
    return "" if _kept(value) else "The number does not fit 64 bits, or is not finite."


def _kept(value: Any) -> bool:
    """Whether every number inside fits."""
    todo = [value]
    while todo:
        match todo.pop():
            case bool():
                continue
            case int() as number if not -_INT64 <= number < _INT64:
                return False
            case float() as number if not math.isfinite(number):
                return False
            case dict() as inner:
                todo += inner.values()
            case list() as inner:
                todo += inner
    return True


def type_of(value: Any) -> ColumnType:
    """Return the type of a JSON value that is not null."""
    match value:
        case bool():
            return ColumnType.BOOLEAN
        case int():
            return ColumnType.INTEGER
        case float():
            return ColumnType.NUMBER
        case str():
            return ColumnType.STRING
        case _:
            return ColumnType.JSON


def _joined(before: ColumnType | None, kind: ColumnType) -> ColumnType | None:
    """Return the type that holds both; None when there is none."""
    if before is None or before is kind:
        return kind
    if before is ColumnType.JSON:
        return before
    if {before, kind} == {ColumnType.INTEGER, ColumnType.NUMBER}:
        return ColumnType.NUMBER
    return None
