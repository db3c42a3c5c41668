"""From rows to a version: everything about a new version that needs no store. Runs in a thread, for seconds at most.

A row that is under seal is looked at by no rule that a caller can choose: a schema, a key or a split that was told
whether it fits would tell the caller what stands there.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from whet_server.dataset.columns import check_columns, check_values, inferred
from whet_server.dataset.reading import MAX_ROWS, Line, read_csv, read_jsonl
from whet_server.dataset.seal import Holdout, Seals, digest_of, holdout_of, row_digest
from whet_server.dataset.shelf import NewRow
from whet_server.dataset.spec import (
    Column,
    ColumnType,
    DataFormat,
    Dataset,
    Header,
    Row,
    Split,
    SplitCount,
    SplitPolicy,
)
from whet_server.dataset.split import check_policy, filled, place
from whet_server.dataset.wrong import Wrong
from whet_server.errors import InvalidField, TooLarge
from whet_server.values import Value


class Before(Value):
    """What a new version follows: the newest version, its rows where they are kept, and every hold-out there was."""

    newest: Dataset | None = None
    rows: tuple[Row, ...] = ()
    holdouts: tuple[bytes, ...] = ()
    """JSON of `Holdout`."""
    opened: frozenset[int] = frozenset()


class Prepared(Value):
    """A new version, ready to be stored but for its number's run, time and role."""

    dataset: Dataset
    rows: tuple[NewRow, ...]
    holdout: Holdout


def prepared(header: Header, data: bytes, before: Before) -> Prepared:
    """Make the next version of an uploaded file. Raises `InvalidField` with every line that is wrong, or
    `TooLarge`.
    """
    newest = before.newest
    _check_append(header, newest)
    known = {} if newest is None or header.new_columns else {column.name: column.type for column in newest.columns}
    lines = _read(header.file_format, data, known)
    if not lines:
        raise InvalidField(("file", "The file has no rows."))
    check_values(lines)
    row_schema = header.row_schema or (newest.row_schema if newest else "")
    kept = [Line(f"row {row.number}", msgspec.json.decode(row.json)) for row in before.rows]
    if newest is None or header.new_columns:
        # Rows that are there are not looked at: what they hold may be under seal.
        columns = inferred(lines, newest.columns if newest and kept else (), len(kept))
    else:
        columns = newest.columns
        check_columns(lines, columns, newest.version)
    if row_schema:
        from whet_server.dataset.row_schema import check_rows  # loads jsonschema and RE2

        check_rows(lines, row_schema)
    dataset = Dataset(
        name=header.name,
        version=newest.version + 1 if newest else 1,
        description=header.description or (newest.description if newest else ""),
        columns=columns,
        row_schema=row_schema,
        key=_key(header, newest, columns),
        tags=tuple(sorted(set(header.tags))),
        source=header.source,
    )
    if newest is not None and header.policy is None:
        policy = newest.policy
    else:
        policy = filled(header.policy or SplitPolicy(), dataset.name, dataset.key)
    return _placed(replace(dataset, policy=policy), [*kept, *lines], len(kept), before)


def resplit(source: Dataset, policy: SplitPolicy, before: Before) -> Prepared:
    """Make the next version of the rows of another one, split anew. Raises `InvalidField`."""
    version = (before.newest or source).version + 1
    dataset = replace(
        source,
        version=version,
        policy=filled(policy, source.name, source.key),
        tags=(),
        open_ns=None,
        open_run_id="",
        open_reason="",
    )
    lines = [Line(f"row {row.number}", msgspec.json.decode(row.json)) for row in before.rows]
    return _placed(dataset, lines, len(lines), before)


def _read(file_format: DataFormat, data: bytes, known: dict[str, ColumnType]) -> list[Line]:
    match file_format:
        case DataFormat.CSV:
            return read_csv(data, known)
        case DataFormat.JSONL:
            return read_jsonl(data)
        case DataFormat.PARQUET:
            return _parsed(read_jsonl(data, unit="row"), known)


def _check_append(header: Header, newest: Dataset | None) -> None:
    """Refuse what would judge rows that are there already: the caller may not see them."""
    if not header.append or newest is None:
        return
    what = "Rows that are there keep it. Store the whole file without append to change it."
    wrong = [
        (field, what)
        for field in ("key", "row_schema")
        if (said := getattr(header, field)) and said != getattr(newest, field)
    ]
    if wrong:
        raise InvalidField(*wrong)


def _key(header: Header, newest: Dataset | None, columns: Sequence[Column]) -> str:
    types = {column.name: column.type for column in columns}
    if not header.key:
        return newest.key if newest and newest.key in types else ""
    if types.get(header.key) not in {ColumnType.STRING, ColumnType.INTEGER}:
        there = ", ".join(name for name, kind in types.items() if kind in {ColumnType.STRING, ColumnType.INTEGER})
        raise InvalidField(("key", f"{header.key!r} is no column of texts or whole numbers. There are: {there}."))
    return header.key


def _placed(dataset: Dataset, lines: Sequence[Line], kept: int, before: Before) -> Prepared:
    """Name rows, split them and close the hold-out. The first `kept` lines are of the data set already."""
    if len(lines) > MAX_ROWS:
        raise TooLarge(f"The data set would have {len(lines)} rows; at most {MAX_ROWS} are kept.")
    check_policy(dataset.policy, dataset.columns)
    seals = Seals([Holdout.read(each) for each in before.holdouts], before.opened)
    digests = [row_digest(line.fields) for line in lines]
    held = [seals.holds(digest, line.fields) for digest, line in zip(digests, lines, strict=True)]
    splits = _splits(dataset.policy, lines, held)
    names = _names(dataset.key, lines, digests, kept)
    rows = tuple(
        NewRow(row_id=name, number=number, split=split, fields=line.fields)
        for number, (name, split, line) in enumerate(zip(names, splits, lines, strict=True), 1)
    )
    counts = tuple(SplitCount(split=split, rows=sum(each is split for each in splits)) for split in Split)
    dataset = replace(dataset, rows=len(rows), splits=counts, digest=digest_of(digests))
    facts = [
        (digest, line.fields, split, was) for digest, line, split, was in zip(digests, lines, splits, held, strict=True)
    ]
    holdout = holdout_of(dataset, facts)
    seen = sum(seals.seen(row.digest) for row in holdout.rows)
    return Prepared(dataset=replace(dataset, sealed=bool(holdout.rows), seen_rows=seen), rows=rows, holdout=holdout)


def _splits(policy: SplitPolicy, lines: Sequence[Line], held: Sequence[bool]) -> list[Split]:
    wrong, splits = Wrong(), []
    for line, is_held in zip(lines, held, strict=True):
        split = Split.HOLDOUT if is_held else place(policy, line.fields)
        if split is None:
            said = _shown(line.fields.get(policy.column))
            wrong.add(f"{line.where}: column {policy.column}", f"Give train, dev or holdout, not {said}.")
        else:
            splits.append(split)
    wrong.tell()
    return splits


def _names(key: str, lines: Sequence[Line], digests: Sequence[str], kept: int) -> list[str]:
    """Return each row's id: its key, else the beginning of its digest, with a number where rows are the same."""
    wrong, names = Wrong(), []
    taken: dict[str, int] = {}
    for at, (line, digest) in enumerate(zip(lines, digests, strict=True)):
        value = line.fields.get(key) if key else None
        name = digest[:16] if value is None else str(value)
        times = taken[name] = taken.get(name, 0) + 1
        if key and value is None:
            wrong.add(f"{line.where}: column {key}", "It names the row and is missing.")
        elif key and times > 1 and at >= kept:
            wrong.add(f"{line.where}: column {key}", f"Another row has {_shown(value)} already.")
        names.append(name if times == 1 else f"{name}-{times}")
    wrong.tell()
    return names


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:59] + "…"


def _parsed(lines: list[Line], known: dict[str, ColumnType]) -> list[Line]:
    """Parquet has no column of mixed JSON: such columns travel as texts that hold JSON."""
    for line in lines:
        for name, value in line.fields.items():
            if known.get(name) is ColumnType.JSON and isinstance(value, str):
                try:
                    line.fields[name] = msgspec.json.decode(value)
                except msgspec.DecodeError:
                    raise InvalidField((f"{line.where}: column {name}", "This text is no JSON.")) from None
    return lines
