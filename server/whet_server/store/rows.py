"""Writes as rows and rows as values: the only place that knows which field stands in which column.

A row's first columns are its key, so that of several writes of one thing in one transaction only the last is sent.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec
from sqlalchemy import Row as SqlRow
from sqlalchemy import Table, bindparam, delete
from sqlalchemy.dialects.sqlite import dialect, insert

from whet_server.store import tables
from whet_server.store.base import (
    ApprovalRecord,
    CachedAnswer,
    CapRecord,
    Document,
    EndpointRecord,
    EventRecord,
    RemoveCached,
    RemoveCap,
    RemoveDocument,
    RemoveEndpoint,
    RequestRecord,
    ReservationRecord,
    Write,
)
from whet_server.values import Billing, Run, Usage

Cell: TypeAlias = str | int | bytes | None
Cells: TypeAlias = tuple[Cell, ...]
AnyRow: TypeAlias = SqlRow[*tuple[Any, ...]]

LARGEST_STATEMENT: Final = 256
"""Rows in one statement at most; 15 columns of 256 rows stay far below SQLite's limit of 32,766 parameters."""

_to_json = msgspec.json.Encoder().encode
_W = TypeVar("_W")


class Change(NamedTuple):
    """One row to be there (`cells`), or, when `cells` is None, to be gone."""

    table: Table
    key: Cells
    cells: Cells | None


class Sweep(NamedTuple):
    """A removal of many rows, which therefore keeps its place among the changes."""

    sql: str
    parameters: Cells


Statement: TypeAlias = tuple[str, Cells]
_Maker: TypeAlias = Callable[[Any], "Change | Sweep"]
_makers: Final[dict[type, _Maker]] = {}


def _writes(kind: type[_W]) -> Callable[[Callable[[_W], "Change | Sweep"]], Callable[[_W], "Change | Sweep"]]:
    def note(maker: Callable[[_W], Change | Sweep]) -> Callable[[_W], Change | Sweep]:
        _makers[kind] = maker
        return maker

    return note


def changes(writes: Iterable[Write]) -> "list[Change | Sweep]":
    """Return the writes as changes of rows. Raises TypeError for what is no `Write`."""
    try:
        return [_makers[type(write)](write) for write in writes]
    except KeyError as unknown:
        raise TypeError(f"{unknown} is not a Write of store/base.py") from None


@_writes(Run)
def _run(run: Run) -> Change:
    key = (run.run_id,)
    return Change(tables.RUN, key, (*key, run.workspace, run.kind.value, run.state.value, _to_json(run)))


@_writes(EventRecord)
def _event(event: EventRecord) -> Change:
    key = (event.run_id, event.sequence)
    return Change(tables.EVENT, key, (*key, event.record, event.hash))


@_writes(RequestRecord)
def _request(request: RequestRecord) -> Change:
    key = (request.workspace, request.request_id)
    return Change(tables.REQUEST, key, (*key, _to_json(request)))


@_writes(ReservationRecord)
def _reservation(entry: ReservationRecord) -> Change:
    key = (entry.workspace, entry.reservation_id)
    usage = entry.usage
    cells = (
        *key,
        entry.run_id,
        entry.model,
        entry.billing.value,
        entry.reserved,
        entry.settled,
        usage.input_tokens,
        usage.output_tokens,
        int(usage.estimated),
        entry.input_price,
        entry.output_price,
        entry.create_ns,
        entry.end_ns,
        entry.expire_ns,
        entry.reserved_tokens,
    )
    return Change(tables.RESERVATION, key, cells)


@_writes(CapRecord)
def _cap(cap: CapRecord) -> Change:
    key = (cap.workspace, cap.period)
    return Change(tables.CAP, key, (*key, cap.limit))


@_writes(EndpointRecord)
def _endpoint(endpoint: EndpointRecord) -> Change:
    key = (endpoint.workspace, endpoint.name)
    return Change(tables.ENDPOINT, key, (*key, endpoint.settings, endpoint.sealed_key))


@_writes(CachedAnswer)
def _cached(answer: CachedAnswer) -> Change:
    key = (answer.workspace, answer.key)
    return Change(tables.CACHED, key, (*key, answer.expire_ns, _to_json(answer)))


@_writes(ApprovalRecord)
def _approval(approval: ApprovalRecord) -> Change:
    key = (approval.workspace, approval.approval_id)
    return Change(tables.APPROVAL, key, (*key, approval.state, approval.digest, _to_json(approval)))


@_writes(Document)
def _document(document: Document) -> Change:
    key = (document.workspace, document.collection, document.key)
    return Change(tables.DOCUMENT, key, (*key, document.data))


@_writes(RemoveDocument)
def _remove_document(removal: RemoveDocument) -> Change:
    return Change(tables.DOCUMENT, (removal.workspace, removal.collection, removal.key), None)


@_writes(RemoveCap)
def _remove_cap(removal: RemoveCap) -> Change:
    return Change(tables.CAP, (removal.workspace, removal.period), None)


@_writes(RemoveEndpoint)
def _remove_endpoint(removal: RemoveEndpoint) -> Change:
    return Change(tables.ENDPOINT, (removal.workspace, removal.name), None)


@_writes(RemoveCached)
def _remove_cached(removal: RemoveCached) -> Sweep:
    statement = delete(tables.CACHED)
    parameters: list[Cell] = []
    if removal.workspace is not None:
        statement = statement.where(tables.CACHED.c.workspace == removal.workspace)
        parameters.append(removal.workspace)
    if removal.expired_before_ns is not None:
        statement = statement.where(tables.CACHED.c.expire_ns < removal.expired_before_ns)
        parameters.append(removal.expired_before_ns)
    return Sweep(str(statement.compile(dialect=dialect())), tuple(parameters))


def statements(all_changes: "Iterable[Change | Sweep]") -> Iterator[Statement]:
    """Return SQL that brings about the changes: the last of each row wins, sweeps keep their place."""
    latest: dict[Table, dict[Cells, Cells | None]] = {}
    for change in all_changes:
        if isinstance(change, Sweep):
            yield from _drain(latest)
            yield change
        else:
            latest.setdefault(change.table, {})[change.key] = change.cells
    yield from _drain(latest)


def _drain(latest: dict[Table, dict[Cells, Cells | None]]) -> Iterator[Statement]:
    for table, rows in latest.items():
        here = [cells for cells in rows.values() if cells is not None]
        start = 0
        while start < len(here):
            # Sizes are powers of two: one step of SQLite carries many rows without taking Python's lock in between,
            # and the driver still finds nearly every statement prepared.
            size = min(LARGEST_STATEMENT, 1 << (len(here) - start).bit_length() - 1)
            yield _upsert(table, size), tuple(cell for cells in here[start : start + size] for cell in cells)
            start += size
        yield from ((_removal(table), key) for key, cells in rows.items() if cells is None)
    latest.clear()


@cache
def _upsert(table: Table, size: int) -> str:
    statement = insert(table)
    rest = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    one = str(statement.on_conflict_do_update(index_elements=table.primary_key, set_=rest).compile(dialect=dialect()))
    places = f"({', '.join('?' * len(table.columns))})"
    return one.replace(places, ", ".join([places] * size), 1)


@cache
def _removal(table: Table) -> str:
    key = [column == bindparam(column.name) for column in table.primary_key]
    return str(delete(table).where(*key).compile(dialect=dialect()))


read_run: Final = msgspec.json.Decoder(Run).decode
read_request: Final = msgspec.json.Decoder(RequestRecord).decode
read_cached: Final = msgspec.json.Decoder(CachedAnswer).decode
read_approval: Final = msgspec.json.Decoder(ApprovalRecord).decode


def read_reservation(row: Sequence[Any]) -> ReservationRecord:
    """Return the entry; the columns stand as in the table."""
    usage = Usage(input_tokens=row[7], output_tokens=row[8], estimated=bool(row[9]))
    return ReservationRecord(
        workspace=row[0],
        reservation_id=row[1],
        run_id=row[2],
        model=row[3],
        billing=Billing(row[4]),
        reserved=row[5],
        settled=row[6],
        usage=usage,
        input_price=row[10],
        output_price=row[11],
        create_ns=row[12],
        end_ns=row[13],
        expire_ns=row[14],
        reserved_tokens=row[15],
    )
