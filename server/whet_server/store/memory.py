"""The store in memory: the twin of the SQL one, for tests and for rooms that are tried out alone."""

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from whet_server.store.base import (
    ApprovalRecord,
    CachedAnswer,
    CacheSize,
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
    UsageSum,
    Write,
)
from whet_server.values import Billing, Nanos, Run, RunId, RunKind, RunState, Workspace

_V = TypeVar("_V")


class MemoryStore:
    """A `Store` without a disk. A commit gives other tasks a turn before it returns, as the real one does."""

    def __init__(self) -> None:
        self._runs: dict[RunId, Run] = {}
        self._events: dict[RunId, dict[int, EventRecord]] = {}
        self._requests: dict[tuple[Workspace, str], RequestRecord] = {}
        self._reservations: dict[tuple[Workspace, str], ReservationRecord] = {}
        self._caps: dict[tuple[Workspace, str], CapRecord] = {}
        self._endpoints: dict[tuple[Workspace, str], EndpointRecord] = {}
        self._cached: dict[tuple[Workspace, bytes], CachedAnswer] = {}
        self._approvals: dict[tuple[Workspace, str], ApprovalRecord] = {}
        self._documents: dict[tuple[Workspace, str], dict[str, Document]] = {}
        self._appliers: dict[type, Callable[[Any], object]] = {
            Run: lambda run: self._runs.update({run.run_id: run}),
            EventRecord: lambda event: self._events.setdefault(event.run_id, {}).update({event.sequence: event}),
            RequestRecord: lambda request: self._requests.update({(request.workspace, request.request_id): request}),
            ReservationRecord: lambda entry: self._reservations.update(
                {(entry.workspace, entry.reservation_id): entry}
            ),
            CapRecord: lambda cap: self._caps.update({(cap.workspace, cap.period): cap}),
            EndpointRecord: lambda endpoint: self._endpoints.update({(endpoint.workspace, endpoint.name): endpoint}),
            CachedAnswer: lambda answer: self._cached.update({(answer.workspace, answer.key): answer}),
            ApprovalRecord: lambda approval: self._approvals.update(
                {(approval.workspace, approval.approval_id): approval}
            ),
            Document: lambda document: self._documents.setdefault((document.workspace, document.collection), {}).update(
                {document.key: document}
            ),
            RemoveDocument: lambda removal: self._documents.get((removal.workspace, removal.collection), {}).pop(
                removal.key, None
            ),
            RemoveCap: lambda removal: self._caps.pop((removal.workspace, removal.period), None),
            RemoveEndpoint: lambda removal: self._endpoints.pop((removal.workspace, removal.name), None),
            RemoveCached: self._remove_cached,
        }

    async def commit(self, *writes: Write) -> None:
        try:
            appliers = [self._appliers[type(write)] for write in writes]
        except KeyError as unknown:
            raise TypeError(f"{unknown} is not a Write of store/base.py") from None
        for apply, write in zip(appliers, writes, strict=True):
            apply(write)
        await asyncio.sleep(0)

    async def close(self) -> None:
        """There are no files to release."""

    async def run(self, run_id: RunId) -> Run | None:
        return self._runs.get(run_id)

    async def runs(
        self,
        workspace: Workspace | None,
        *,
        kind: RunKind | None = None,
        state: RunState | None = None,
        before: RunId | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        wanted = _matching(self._runs.values(), workspace=workspace, kind=kind, state=state)
        return _newest(wanted, lambda run: run.run_id, before, limit)

    async def events(self, run_id: RunId, *, after: int = 0, limit: int = 500) -> Sequence[EventRecord]:
        events = self._events.get(run_id, {})
        return [events[sequence] for sequence in sorted(events) if sequence > after][:limit]

    async def request(self, workspace: Workspace, request_id: str) -> RequestRecord | None:
        return self._requests.get((workspace, request_id))

    async def reservation(self, workspace: Workspace, reservation_id: str) -> ReservationRecord | None:
        return self._reservations.get((workspace, reservation_id))

    async def reservations(
        self,
        workspace: Workspace | None,
        *,
        billing: Billing | None = None,
        run_id: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[ReservationRecord]:
        wanted = _matching(self._reservations.values(), workspace=workspace, billing=billing, run_id=run_id)
        return _newest(wanted, lambda entry: entry.reservation_id, before, limit)

    async def usage(
        self,
        workspace: Workspace,
        *,
        group: str,
        start_ns: int | None = None,
        end_ns: int | None = None,
        run_id: str | None = None,
    ) -> Sequence[UsageSum]:
        key_of = _USAGE_KEYS[group]
        sums: dict[tuple[str, Billing], UsageSum] = {}
        for entry in _matching(self._reservations.values(), workspace=workspace, run_id=run_id):
            if (start_ns is None or entry.create_ns >= start_ns) and (end_ns is None or entry.create_ns < end_ns):
                key = (key_of(entry), entry.billing)
                sums[key] = _added(sums.get(key), key[0], entry)
        return [sums[key] for key in sorted(sums)]

    async def caps(self, workspace: Workspace | None) -> Sequence[CapRecord]:
        return _matching((self._caps[key] for key in sorted(self._caps)), workspace=workspace)

    async def endpoints(self, workspace: Workspace | None) -> Sequence[EndpointRecord]:
        return _matching((self._endpoints[key] for key in sorted(self._endpoints)), workspace=workspace)

    async def cached(self, workspace: Workspace, key: bytes) -> CachedAnswer | None:
        return self._cached.get((workspace, key))

    async def cache_size(self, workspace: Workspace) -> CacheSize:
        sizes = [len(msgspec.json.encode(answer)) for key, answer in self._cached.items() if key[0] == workspace]
        return CacheSize(entries=len(sizes), size_bytes=sum(sizes))

    async def approval(self, workspace: Workspace, approval_id: str) -> ApprovalRecord | None:
        return self._approvals.get((workspace, approval_id))

    async def approvals(
        self,
        workspace: Workspace,
        *,
        state: str | None = None,
        digest: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[ApprovalRecord]:
        wanted = _matching(self._approvals.values(), workspace=workspace, state=state, digest=digest)
        return _newest(wanted, lambda approval: approval.approval_id, before, limit)

    async def document(self, workspace: Workspace, collection: str, key: str) -> Document | None:
        return self._documents.get((workspace, collection), {}).get(key)

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
        found = self._documents.get((workspace, collection), {})
        wanted = [
            key
            for key in sorted(found, reverse=newest_first)
            if key.startswith(prefix) and (after is None or key > after) and (before is None or key < before)
        ]
        return [found[key] for key in wanted[:limit]]

    def _remove_cached(self, removal: RemoveCached) -> None:
        self._cached = {
            key: answer
            for key, answer in self._cached.items()
            if (removal.workspace is not None and removal.workspace != answer.workspace)
            or (removal.expired_before_ns is not None and answer.expire_ns >= removal.expired_before_ns)
        }


_USAGE_KEYS: Final[dict[str, Callable[[ReservationRecord], str]]] = {
    "model": lambda entry: entry.model,
    "run": lambda entry: entry.run_id,
    "day": lambda entry: dt.datetime.fromtimestamp(entry.create_ns // 10**9, dt.UTC).date().isoformat(),
    "all": lambda _: "",
}


def _matching(values: Iterable[_V], **wanted: object) -> list[_V]:
    asked = {name: value for name, value in wanted.items() if value is not None}
    return [value for value in values if all(getattr(value, name) == one for name, one in asked.items())]


def _newest(values: list[_V], key: Callable[[_V], str], before: str | None, limit: int) -> list[_V]:
    found = [value for value in values if before is None or key(value) < before]
    return sorted(found, key=key, reverse=True)[:limit]


def _added(so_far: UsageSum | None, key: str, entry: ReservationRecord) -> UsageSum:
    held = entry.reserved if entry.billing in {Billing.RESERVED, Billing.UNKNOWN} else 0
    money = entry.settled if entry.billing is Billing.SETTLED else held
    most = entry.reserved_tokens if entry.billing in {Billing.RESERVED, Billing.UNKNOWN} else 0
    tokens = entry.usage.input_tokens + entry.usage.output_tokens if entry.billing is Billing.SETTLED else most
    return UsageSum(
        key=key,
        billing=entry.billing,
        money=Nanos(money + (so_far.money if so_far else 0)),
        input_tokens=entry.usage.input_tokens + (so_far.input_tokens if so_far else 0),
        output_tokens=entry.usage.output_tokens + (so_far.output_tokens if so_far else 0),
        estimated=entry.usage.estimated or (so_far is not None and so_far.estimated),
        entries=1 + (so_far.entries if so_far else 0),
        held_tokens=tokens + (so_far.held_tokens if so_far else 0),
    )
