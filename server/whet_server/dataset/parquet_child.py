"""Reads a Parquet file from stdin and writes its rows to stdout as JSON lines, within limits of memory and time."""

import io
import json
import math
import resource
import sys
from collections.abc import Callable
from typing import Any, Final

from whet_server.dataset.parquet import SECONDS, Refused
from whet_server.dataset.reading import MAX_BYTES

_MEMORY: Final = 2 * 1024**3
"""Address space: the largest file, what it unfolds to, and the interpreter."""
_BATCH: Final = 256
"""Rows at a time: a few of a megabyte each fit."""


class _RefusedError(Exception):
    """(where, what)"""


def main() -> int:
    """Return the exit code: 0 or one of `Refused`."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from arro3.io import read_parquet

    number = size = 0
    try:
        for batch in read_parquet(io.BytesIO(sys.stdin.buffer.read(MAX_BYTES + 1)), batch_size=_BATCH):
            schema = batch.schema
            fields = [schema.field(at) for at in range(batch.num_columns)]
            if number == 0:
                _check_names([field.name for field in fields])
            readers = [_reader(field) for field in fields]
            columns = [batch.column(at).to_pylist() for at in range(batch.num_columns)]
            for cells in zip(*columns, strict=True):
                number += 1
                row = {
                    field.name: _read(read, cell, number, field.name)
                    for field, read, cell in zip(fields, readers, cells, strict=True)
                    if cell is not None
                }
                line = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
                size += len(line.encode())
                if size > MAX_BYTES:
                    return Refused.TOO_LARGE
                sys.stdout.write(line)
    except _RefusedError as refused:
        sys.stdout.write("\n" + json.dumps(refused.args) + "\n")
        return Refused.INVALID
    return 0


def _check_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise _RefusedError(f"column {name}", "This name stands twice in the file.")


def _read(read: Callable[[Any], Any], cell: Any, number: int, name: str) -> Any:
    try:
        return read(cell)
    except ValueError as error:
        raise _RefusedError(f"row {number}: column {name}", str(error)) from error


def _reader(field: Any) -> Callable[[Any], Any]:
    """Return what makes a JSON value of a cell."""
    from arro3.core import DataType

    kind = field.type
    if (field.metadata or {}).get(b"whet.type") == b"json":
        return json.loads
    if DataType.is_floating(kind):
        return _finite
    plain = (
        DataType.is_boolean,
        DataType.is_integer,
        DataType.is_string,
        DataType.is_large_string,
        DataType.is_string_view,
        DataType.is_null,
        DataType.is_dictionary,
    )
    if any(fits(kind) for fits in plain):
        return _plain
    if DataType.is_nested(kind):
        return _nested
    name = str(kind).strip().removeprefix("arro3.core.DataType")
    raise _RefusedError(
        f"column {field.name}", f"Values of the type {name} are not kept. Store them as text or numbers."
    )


def _finite(cell: float) -> float:
    if math.isfinite(cell):
        return cell
    raise ValueError(f"{cell} is no JSON number; leave the cell empty")


def _plain(cell: Any) -> Any:
    if isinstance(cell, str | int | float | None):
        return cell
    raise ValueError(f"a {type(cell).__name__} is not kept; store it as text or a number")


def _nested(cell: Any) -> Any:
    match cell:
        case dict():
            return {str(name): _nested(inner) for name, inner in cell.items()}
        case list() | tuple():
            return [_nested(inner) for inner in cell]
        case float():
            return _finite(cell)
        case _:
            return _plain(cell)


if __name__ == "__main__":
    sys.exit(main())
