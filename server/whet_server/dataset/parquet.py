"""Parquet in and out.

A Parquet file is read in a process of its own, with limits: the reader is native code that panics on files that are
torn, and a file of kilobytes can unfold to gigabytes. What comes back are JSON lines.
"""

import asyncio
import io
import sys
from asyncio.subprocess import DEVNULL, PIPE
from enum import IntEnum
from typing import Any, Final

import msgspec

from whet_server.dataset.reading import MAX_BYTES
from whet_server.dataset.spec import ColumnType, Readable
from whet_server.errors import InvalidField, TooLarge

SECONDS: Final = 60.0
"""A file of the largest size is read in two or three."""


class Refused(IntEnum):
    """The child's exit codes; with INVALID the last line on stdout says where and what."""

    INVALID = 3
    TOO_LARGE = 4


async def as_json_lines(data: bytes) -> bytes:
    """Return the rows of a Parquet file as JSON lines. Raises `InvalidField` or `TooLarge`."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "whet_server.dataset.parquet_child", stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    try:
        async with asyncio.timeout(SECONDS):
            lines, _ = await child.communicate(data)
    except TimeoutError:
        raise TooLarge("The Parquet file takes too long to read. Store it as JSONL.") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    match child.returncode:
        case 0:
            return lines
        case Refused.INVALID:
            where, what = msgspec.json.decode(lines.rstrip().rpartition(b"\n")[2], type=tuple[str, str])
            raise InvalidField((where, what))
        case Refused.TOO_LARGE:
            raise TooLarge(
                f"The rows have more than {MAX_BYTES} bytes when they are unpacked.",
                metadata={"limit_bytes": str(MAX_BYTES)},
            )
        case _:
            raise InvalidField(("file", "This cannot be read as Parquet: it is torn, or too large when unpacked."))


def write_parquet(given: Readable) -> bytes:
    """Return rows as a Parquet file; lists and objects travel as texts that hold JSON."""
    from arro3.core import Array, DataType, Field, Schema, Table
    from arro3.io import write_parquet as write_file

    types = {
        ColumnType.STRING: DataType.large_utf8(),
        ColumnType.JSON: DataType.large_utf8(),
        ColumnType.INTEGER: DataType.int64(),
        ColumnType.NUMBER: DataType.float64(),
        ColumnType.BOOLEAN: DataType.bool(),
    }
    rows = [msgspec.json.decode(row.json) for row in given.rows]
    columns = given.dataset.columns
    arrays = [
        Array([_cell(row.get(column.name), column.type) for row in rows], types[column.type]) for column in columns
    ]
    fields = [
        Field(column.name, types[column.type], nullable=True, metadata={"whet.type": column.type.value})
        for column in columns
    ]
    file = io.BytesIO()
    write_file(Table.from_arrays(arrays, schema=Schema(fields)), file, compression="zstd(3)")
    return file.getvalue()


def _cell(value: Any, kind: ColumnType) -> Any:
    if value is None:
        return None
    if kind is ColumnType.JSON:
        return msgspec.json.encode(value).decode()
    return float(value) if kind is ColumnType.NUMBER else value
