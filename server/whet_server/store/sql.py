"""The store in a SQLite file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    URL,
    ColumnElement,
    LargeBinary,
    Select,
    bindparam,
    case,
    cast,
    event,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from whet_server.errors import StorageUnavailable
from whet_server.store import rows
from whet_server.store.base import (
    ApprovalRecord,
    CachedAnswer,
    CacheSize,
    CapRecord,
    Document,
    EndpointRecord,
    EventRecord,
    RemoveCached,
    RequestRecord,
    ReservationRecord,
    UsageSum,
    Write,
)
from whet_server.store.cached_keys import CachedKeys
from whet_server.store.lookups import Lookups, lookup
from whet_server.store.migrate import migrate
from whet_server.store.tables import APPROVAL, CACHED, CAP, DOCUMENT, ENDPOINT, EVENT, REQUEST, RESERVATION, RUN
from whet_server.store.writer import Writer
from whet_server.values import Billing, Nanos, Run, RunId, RunKind, RunState, Workspace

READERS: Final = 3
"""Connections that read at once: reads take microseconds, and more threads only compete for the same processor."""
LOCK_WAIT_SECONDS: Final = 5.0
"""Nobody else writes to the file; a copy being taken by hand may hold it this long."""
LAST_CHARACTER: Final = "\U0010ffff"
"""Stands behind every key that begins with the same letters."""
AnySelect: TypeAlias = Select[*tuple[Any, ...]]

_RUN: Final = lookup(select(RUN.c.data), RUN.c.run_id)
_EVENTS: Final = lookup(  # as bytes, also where somebody has written text by hand
    select(EVENT.c.sequence, cast(EVENT.c.record, LargeBinary), cast(EVENT.c.hash, LargeBinary))
    .where(EVENT.c.run_id == bindparam("run_id"), EVENT.c.sequence > bindparam("after"))
    .order_by(EVENT.c.sequence)
    .limit(bindparam("limit"))
    .offset(literal_column("0"))
)
_REQUEST: Final = lookup(select(REQUEST.c.data), REQUEST.c.workspace, REQUEST.c.request_id)
_RESERVATION: Final = lookup(select(RESERVATION), RESERVATION.c.workspace, RESERVATION.c.reservation_id)
_CACHED: Final = lookup(select(CACHED.c.data), CACHED.c.workspace, CACHED.c.key)
_DOCUMENT: Final = lookup(
    select(DOCUMENT.c.key, DOCUMENT.c.data), DOCUMENT.c.workspace, DOCUMENT.c.collection, DOCUMENT.c.key
)
_APPROVAL: Final = lookup(select(APPROVAL.c.data), APPROVAL.c.workspace, APPROVAL.c.approval_id)


class SqlStore:
    """A `Store` in one SQLite file, opened by one process. Writes go through `Writer`, reads through connections that
    cannot write.
    """

    def __init__(self, writer: Writer, readers: AsyncEngine, lookups: Lookups) -> None:
        self._writer = writer
        self._readers = readers
        self._lookups = lookups
        self._cached_keys = CachedKeys()

    @classmethod
    async def open(cls, path: Path, *, lock_wait: float = LOCK_WAIT_SECONDS) -> "SqlStore":
        """Open the file, make it if it is missing, and apply the migrations it lacks."""
        writer = await Writer.open(path, prepare=migrate, lock_wait=lock_wait)
        readers = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            pool_size=READERS,
            max_overflow=0,
            pool_reset_on_return=None,  # a reader has nothing to take back
            isolation_level="AUTOCOMMIT",  # every SELECT sees the newest commit
        )
        event.listen(readers.sync_engine, "connect", _only_read)
        try:
            store = cls(writer, readers, await Lookups.open(readers))
            await store._load_cached_keys()
        except BaseException:
            await readers.dispose()
            await writer.close()
            raise
        return store

    async def commit(self, *writes: Write) -> None:
        changes = rows.changes(writes)
        for write in writes:
            if type(write) is CachedAnswer or type(write) is RemoveCached:
                self._cached_keys.follow(write)
        await self._writer.submit(changes)

    async def close(self) -> None:
        await self._lookups.close()
        await self._readers.dispose()
        await self._writer.close()

    async def run(self, run_id: RunId) -> Run | None:
        found = await self._lookups.find(_RUN, run_id)
        return rows.read_run(found[0][0]) if found else None

    async def runs(
        self,
        workspace: Workspace | None,
        *,
        kind: RunKind | None = None,
        state: RunState | None = None,
        before: RunId | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        query = select(RUN.c.data).order_by(RUN.c.run_id.desc()).limit(limit)
        query = _where(query, RUN.c.workspace, workspace)
        query = _where(query, RUN.c.kind, kind)
        query = _where(query, RUN.c.state, state)
        if before is not None:
            query = query.where(RUN.c.run_id < before)
        return [rows.read_run(row.data) for row in await self._all(query)]

    async def events(self, run_id: RunId, *, after: int = 0, limit: int = 500) -> Sequence[EventRecord]:
        found = await self._lookups.find(_EVENTS, run_id, after, limit)
        return [EventRecord(run_id=run_id, sequence=row[0], record=row[1], hash=row[2]) for row in found]

    async def request(self, workspace: Workspace, request_id: str) -> RequestRecord | None:
        found = await self._lookups.find(_REQUEST, workspace, request_id)
        return rows.read_request(found[0][0]) if found else None

    async def reservation(self, workspace: Workspace, reservation_id: str) -> ReservationRecord | None:
        found = await self._lookups.find(_RESERVATION, workspace, reservation_id)
        return rows.read_reservation(found[0]) if found else None

    async def reservations(
        self,
        workspace: Workspace | None,
        *,
        billing: Billing | None = None,
        run_id: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[ReservationRecord]:
        query = select(RESERVATION).order_by(RESERVATION.c.reservation_id.desc()).limit(limit)
        query = _where(query, RESERVATION.c.workspace, workspace)
        query = _where(query, RESERVATION.c.billing, billing)
        query = _where(query, RESERVATION.c.run_id, run_id)
        if before is not None:
            query = query.where(RESERVATION.c.reservation_id < before)
        return [rows.read_reservation(row) for row in await self._all(query)]

    async def usage(
        self,
        workspace: Workspace,
        *,
        group: str,
        start_ns: int | None = None,
        end_ns: int | None = None,
        run_id: str | None = None,
    ) -> Sequence[UsageSum]:
        entry = RESERVATION.c
        keys: dict[str, ColumnElement[str]] = {
            "model": entry.model,
            "run": entry.run_id,
            "day": func.date(entry.create_ns // 1_000_000_000, "unixepoch"),
            "all": literal(""),
        }
        query = _where(_usage_by(keys[group]).where(entry.workspace == workspace), entry.run_id, run_id)
        if start_ns is not None:
            query = query.where(entry.create_ns >= start_ns)
        if end_ns is not None:
            query = query.where(entry.create_ns < end_ns)
        return [
            UsageSum(
                key=row.key,
                billing=Billing(row.billing),
                money=Nanos(row.money),
                input_tokens=row.input_tokens,
                output_tokens=row.output_tokens,
                estimated=bool(row.estimated),
                entries=row.entries,
                held_tokens=row.held_tokens,
            )
            for row in await self._all(query)
        ]

    async def caps(self, workspace: Workspace | None) -> Sequence[CapRecord]:
        query = _where(select(CAP).order_by(CAP.c.workspace, CAP.c.period), CAP.c.workspace, workspace)
        return [
            CapRecord(workspace=row.workspace, period=row.period, limit=Nanos(row.limit_nanos))
            for row in await self._all(query)
        ]

    async def endpoints(self, workspace: Workspace | None) -> Sequence[EndpointRecord]:
        query = select(ENDPOINT).order_by(ENDPOINT.c.workspace, ENDPOINT.c.name)
        return [
            EndpointRecord(workspace=row.workspace, name=row.name, settings=row.settings, sealed_key=row.sealed_key)
            for row in await self._all(_where(query, ENDPOINT.c.workspace, workspace))
        ]

    async def cached(self, workspace: Workspace, key: bytes) -> CachedAnswer | None:
        if not self._cached_keys.has(workspace, key):
            return None
        found = await self._lookups.find(_CACHED, workspace, key)
        return rows.read_cached(found[0][0]) if found else None

    async def cache_size(self, workspace: Workspace) -> CacheSize:
        size = func.coalesce(func.sum(func.length(CACHED.c.data)), 0)
        query = select(func.count().label("entries"), size.label("size")).where(CACHED.c.workspace == workspace)
        [row] = await self._all(query)
        return CacheSize(entries=row.entries, size_bytes=row.size)

    async def approval(self, workspace: Workspace, approval_id: str) -> ApprovalRecord | None:
        found = await self._lookups.find(_APPROVAL, workspace, approval_id)
        return rows.read_approval(found[0][0]) if found else None

    async def approvals(
        self,
        workspace: Workspace,
        *,
        state: str | None = None,
        digest: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[ApprovalRecord]:
        query = select(APPROVAL.c.data).where(APPROVAL.c.workspace == workspace)
        query = _where(query, APPROVAL.c.state, state)
        query = _where(query, APPROVAL.c.digest, digest)
        if before is not None:
            query = query.where(APPROVAL.c.approval_id < before)
        query = query.order_by(APPROVAL.c.approval_id.desc()).limit(limit)
        return [rows.read_approval(row.data) for row in await self._all(query)]

    async def document(self, workspace: Workspace, collection: str, key: str) -> Document | None:
        found = await self._lookups.find(_DOCUMENT, workspace, collection, key)
        return _document(workspace, collection, *found[0]) if found else None

    async def documents(
        self,
        workspace: Workspace,
        collection: str,
        *,
        prefix: str = "",
        after: str | None = None,
        before: str | None = None,
        newest_first: bool = False,
        limit: int = 500,
    ) -> Sequence[Document]:
        key = DOCUMENT.c.key
        query = select(key, DOCUMENT.c.data)
        query = query.where(DOCUMENT.c.workspace == workspace, DOCUMENT.c.collection == collection)
        if prefix:
            query = query.where(key >= prefix, key < prefix + LAST_CHARACTER)
        if after is not None:
            query = query.where(key > after)
        if before is not None:
            query = query.where(key < before)
        query = query.order_by(key.desc() if newest_first else key).limit(limit)
        return [_document(workspace, collection, *row) for row in await self._all(query)]

    async def _load_cached_keys(self) -> None:
        for workspace, key, expire_ns in await self._all(select(CACHED.c.workspace, CACHED.c.key, CACHED.c.expire_ns)):
            self._cached_keys.add(workspace, key, expire_ns)

    async def _all(self, query: AnySelect) -> Sequence[rows.AnyRow]:
        try:
            async with self._readers.connect() as connection:
                return (await connection.execute(query)).all()
        except DatabaseError as error:
            raise StorageUnavailable(f"the database cannot be read now ({error.orig})", retry_after=1.0) from error


def _where(query: AnySelect, column: ColumnElement[Any], wanted: str | None) -> AnySelect:
    return query if wanted is None else query.where(column == wanted)


def _document(workspace: Workspace, collection: str, key: str, data: bytes) -> Document:
    return Document(workspace=workspace, collection=collection, key=key, data=data)


def _usage_by(key: ColumnElement[str]) -> AnySelect:
    entry = RESERVATION.c
    money = case(
        (entry.billing == Billing.SETTLED, entry.settled),
        (entry.billing.in_([Billing.RESERVED, Billing.UNKNOWN]), entry.reserved),
        else_=0,
    )
    tokens = case(
        (entry.billing == Billing.SETTLED, entry.input_tokens + entry.output_tokens),
        (entry.billing.in_([Billing.RESERVED, Billing.UNKNOWN]), entry.reserved_tokens),
        else_=0,
    )
    named = key.label("key")
    return (
        select(
            named,
            entry.billing,
            func.sum(money).label("money"),
            func.sum(entry.input_tokens).label("input_tokens"),
            func.sum(entry.output_tokens).label("output_tokens"),
            func.max(entry.estimated).label("estimated"),
            func.count().label("entries"),
            func.sum(tokens).label("held_tokens"),
        )
        .group_by(named, entry.billing)
        .order_by(named, entry.billing)
    )


def _only_read(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.execute("PRAGMA trusted_schema = OFF")
    cursor.close()
