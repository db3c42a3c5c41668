"""Rows to files: JSON lines, CSV and Parquet."""

import csv
import io
from typing import Any

import msgspec

from whet_server.dataset.spec import ColumnType, DataFormat, Readable


def write(given: Readable, file_format: DataFormat) -> bytes:
    """Return rows as a file. What a reader of ours makes of it has the same values."""
    match file_format:
        case DataFormat.JSONL:
            return "".join(f"{row.json}\n" for row in given.rows).encode()
        case DataFormat.CSV:
            return _csv(given)
        case DataFormat.PARQUET:
            from whet_server.dataset.parquet import write_parquet

            return write_parquet(given)


def _csv(given: Readable) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    columns = given.dataset.columns
    writer.writerow([column.name for column in columns])
    for row in given.rows:
        fields = msgspec.json.decode(row.json)
        writer.writerow([_cell(fields.get(column.name), column.type) for column in columns])
    return file.getvalue().encode()


def _cell(value: Any, kind: ColumnType) -> str:
    if value is None:
        return ""
    if kind is ColumnType.STRING:
        return str(value)
    return msgspec.json.encode(value).decode()
