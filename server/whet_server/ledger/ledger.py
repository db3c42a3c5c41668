"""The ledger: no call without a reservation, no interleaving that crosses a cap.

Balances live in memory, because one process owns the data directory and its event loop runs one thing at a time:
`reserve` checks every cap and takes the money in one step without an await, then makes the entry durable, and only
then may the caller send. A reservation ends once: settled with what was used, released when nothing was sent, or
unknown, which keeps the money until somebody learns the bill. After a crash every entry still RESERVED is UNKNOWN.
Days and months are UTC's; an entry counts in the period in which it was reserved.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from whet_server.errors import (
    CapExceeded,
    CapNotFound,
    PriceUnknown,
    ReservationNotFound,
    StorageUnavailable,
    WrongState,
)
from whet_server.ledger.book import NEXT, Balance, Book, Period, RunBook
from whet_server.ledger.expiry import Expiry
from whet_server.ledger.prices import Price
from whet_server.store.base import CapRecord, RemoveCap, ReservationRecord, Store, Write
from whet_server.values import (
    Billing,
    ModelName,
    Nanos,
    RunId,
    RunState,
    Totals,
    Usage,
    Value,
    Workspace,
    cost,
    new_id,
    usd,
)

_logger = logging.getLogger(__name__)
_Key: TypeAlias = tuple[Workspace, str]

PAGE: Final = 500
"""Rows read from the store at a time while the ledger is opened."""
_FREE: Final = Price(input=0, output=0)


class CapStatus(Value):
    """A cap and what counts against it in the current period."""

    period: str
    limit: Nanos
    settled: Nanos
    unknown: Nanos
    reserved: Nanos


class Ledger:
    """The money of every workspace."""

    def __init__(self, store: Store, *, clock: Callable[[], int]) -> None:
        """Use `open`."""
        self._store = store
        self._clock = clock
        self._latest_ns = 0
        self._books: dict[Workspace, Book] = {}
        self._runs: dict[str, dict[Workspace, RunBook]] = {}
        self._entries: dict[_Key, ReservationRecord] = {}  # what is RESERVED or still being written
        self._loading = asyncio.Lock()
        self._cold = asyncio.Lock()  # held from reading an entry in the store until its change is written
        self._background: set[asyncio.Task[None]] = set()
        self._expiry = Expiry(self._expire, clock=self._now)

    @classmethod
    async def open(cls, store: Store, *, clock: Callable[[], int]) -> "Ledger":
        """Load balances and caps; turn what a crash left RESERVED into UNKNOWN."""
        while left := await store.reservations(None, billing=Billing.RESERVED, limit=PAGE):
            now = clock()
            await store.commit(*(replace(entry, billing=Billing.UNKNOWN, end_ns=now) for entry in left))
        ledger = cls(store, clock=clock)
        for cap in await store.caps(None):
            book = await ledger._book(cap.workspace)
            book.limits[Period(cap.period)] = cap.limit
        before: RunId | None = None
        while running := await store.runs(None, state=RunState.RUNNING, before=before, limit=PAGE):
            for run in running:
                of_run = ledger._run(run.workspace, run.run_id)
                for line in await store.usage(run.workspace, group="all", run_id=run.run_id):
                    of_run.money.add(line.billing, line.money)
                    of_run.tokens.add(line.billing, line.held_tokens)
            before = running[-1].run_id
        return ledger

    async def reserve(
        self,
        workspace: Workspace,
        *,
        run_id: str,
        model: ModelName,
        price: Price | None,
        max_input_tokens: int,
        max_output_tokens: int,
        run_cap: Nanos | None = None,
        run_token_cap: int = 0,
        call_cap: Nanos | None = None,
        ttl_seconds: float | None = None,
        reservation_id: str = "",
        fresh: bool = False,
        also: Sequence[Write] = (),
    ) -> ReservationRecord:
        """Reserve the worst case against the call's own cap, the run's and the workspace's; durable when it returns. A
        cap on the run's tokens counts in and out alike, also for what is free; 0: there is none.

        Raises `CapExceeded` (nothing was taken) or `PriceUnknown` (no price and a money cap applies). Without a price
        and without a cap the entry carries tokens and no money. With `ttl_seconds` an entry that nobody settles in
        time becomes UNKNOWN by itself. With a `reservation_id` that exists the entry is returned as it is, if it is
        for the same run, model and money, else `WrongState` is raised; one that is `fresh` was made for this entry
        and is not looked for.

        A caller that is cancelled here has reserved nothing, unless it named an entry that may exist: then it can ask
        again.
        """
        book = self._books.get(workspace) or await self._book(workspace)
        if price is None and (run_cap is not None or call_cap is not None or book.limits):
            raise PriceUnknown(
                f"{model} has no known price and a money cap applies: set its price, or remove the cap",
                metadata={"model": model},
            )
        known = price or _FREE
        now = self._now()
        entry = ReservationRecord(
            reservation_id=reservation_id or new_id("res"),
            workspace=workspace,
            run_id=run_id,
            model=model,
            billing=Billing.RESERVED,
            reserved=Nanos(cost(max_input_tokens, known.input) + cost(max_output_tokens, known.output)),
            create_ns=now,
            input_price=known.input,
            output_price=known.output,
            expire_ns=None if ttl_seconds is None else now + int(ttl_seconds * 1e9),
            reserved_tokens=max_input_tokens + max_output_tokens,
        )
        if call_cap is not None:
            _check_cap("call", call_cap, Balance(), entry.reserved)
        if fresh or not reservation_id:
            return await self._take(book, entry, run_cap, run_token_cap, also)
        async with self._cold:
            before = await self._find(workspace, reservation_id)
            if before is None:
                return await self._take(book, entry, run_cap, run_token_cap, also, findable=True)
        if (before.run_id, before.model, before.reserved) != (run_id, model, entry.reserved):
            raise WrongState(f"reservation {reservation_id} was made for another call", metadata=_metadata(before))
        return before

    async def settle(self, workspace: Workspace, reservation_id: str, usage: Usage) -> ReservationRecord:
        """Settle with what was used. Also for an UNKNOWN entry whose bill became known; again with the same usage
        changes nothing, with other usage raises `WrongState`. A bill above the reservation is recorded as it is.
        Raises `ReservationNotFound`.
        """
        return await self._end(workspace, reservation_id, Billing.SETTLED, usage)

    async def release(self, workspace: Workspace, reservation_id: str) -> ReservationRecord:
        """Nothing was sent, or the provider bills nothing: give the money back (billing NONE)."""
        return await self._end(workspace, reservation_id, Billing.NONE, Usage())

    async def unknown(self, workspace: Workspace, reservation_id: str, usage: Usage = Usage()) -> ReservationRecord:
        """The outcome is not known: the worst case stays reserved. `usage` is what was seen of it, as an estimate."""
        return await self._end(workspace, reservation_id, Billing.UNKNOWN, usage)

    def end(
        self, workspace: Workspace, reservation_id: str, billing: Billing, usage: Usage = Usage()
    ) -> ReservationRecord:
        """End an entry that this process reserved and nobody has ended: counted at once, written before whatever is
        committed from now on, such as the event that tells of it. Never waits, so a cancel cannot come between.

        What the disk refuses stays RESERVED there and is UNKNOWN after the next start. Raises `ReservationNotFound`.
        """
        entry = self._entries.get((workspace, reservation_id))
        if entry is None:
            raise _not_found(reservation_id)
        ended = self._ended(entry, billing, usage)
        self._note(ended, instead_of=entry)
        self._spawn(self._write(ended))
        return ended

    def run_totals(self, run_id: str) -> Totals:
        """Return the money of a run so far (usage and counts are not filled in)."""
        balances = [book.money for book in self._runs.get(run_id, {}).values()]
        return Totals(
            settled=Nanos(sum(balance.settled for balance in balances)),
            unknown=Nanos(sum(balance.unknown for balance in balances)),
            reserved=Nanos(sum(balance.reserved for balance in balances)),
        )

    def forget_run(self, run_id: str) -> None:
        """The run has ended and asks for no money any more: its balance need not be kept in memory."""
        self._runs.pop(run_id, None)

    async def put_cap(
        self, workspace: Workspace, period: str, limit: Nanos, *, also: Sequence[Write] = ()
    ) -> CapStatus:
        """Set the cap of `day` or `month`. It holds as soon as it is durable."""
        known = _period(period)
        book = await self._book(workspace)

        async def put() -> None:
            await self._store.commit(CapRecord(workspace=workspace, period=known.value, limit=limit), *also)
            book.limits[known] = limit

        await self._surely(put())
        return self._status(known, book)

    async def delete_cap(self, workspace: Workspace, period: str, *, also: Sequence[Write] = ()) -> None:
        """Raises `CapNotFound`."""
        known = _period(period)
        book = await self._book(workspace)
        if known not in book.limits:
            raise CapNotFound(f"this workspace has no cap per {period}", metadata={"cap_id": period})

        async def delete() -> None:
            await self._store.commit(RemoveCap(workspace=workspace, period=known.value), *also)
            book.limits.pop(known, None)

        await self._surely(delete())

    def caps(self, workspace: Workspace) -> Sequence[CapStatus]:
        """Return the workspace's caps, the day's before the month's."""
        book = self._books.get(workspace)
        return [self._status(period, book) for period in Period if period in book.limits] if book else []

    async def close(self) -> None:
        """Stop the clockwork that expires reservations and finish what is being written."""
        await self._expiry.close()
        while self._background:
            await asyncio.wait(self._background)

    async def _book(self, workspace: Workspace) -> Book:
        """Return the workspace's book. It is read before the first change of any of its entries, so that nothing is
        counted twice.
        """
        async with self._loading:
            book = self._books.get(workspace)
            if book is None:
                book = Book(self._now())
                for window in book.windows.values():
                    for line in await self._store.usage(workspace, group="all", start_ns=window.start_ns):
                        window.balance.add(line.billing, line.money)
                self._books[workspace] = book
            return book

    def _now(self) -> int:
        """Return the time, which never goes back: an entry must not fall into a period that has been closed."""
        self._latest_ns = max(self._latest_ns, self._clock())
        return self._latest_ns

    def _run(self, workspace: Workspace, run_id: str) -> RunBook:
        books = self._runs.setdefault(run_id, {})
        book = books.get(workspace)
        if book is None:
            book = books[workspace] = RunBook()
        return book

    async def _find(self, workspace: Workspace, reservation_id: str) -> ReservationRecord | None:
        return self._entries.get((workspace, reservation_id)) or await self._store.reservation(
            workspace, reservation_id
        )

    async def _take(
        self,
        book: Book,
        entry: ReservationRecord,
        run_cap: Nanos | None,
        run_token_cap: int,
        also: Sequence[Write],
        *,
        findable: bool = False,
    ) -> ReservationRecord:
        self._check_tokens(entry, run_token_cap)
        self._check(book, entry, run_cap)
        self._note(entry)
        if entry.expire_ns is not None:
            self._expiry.add(entry.expire_ns, (entry.workspace, entry.reservation_id))
        try:
            await self._store.commit(entry, *also)
        except asyncio.CancelledError:
            if not findable:
                gone = replace(entry, billing=Billing.NONE, end_ns=self._now())
                self._note(gone, instead_of=entry)
                self._spawn(self._write(gone))
            raise
        except BaseException:
            self._drop(entry)
            raise
        return entry

    def _check_tokens(self, entry: ReservationRecord, cap: int) -> None:
        held = self._run(entry.workspace, entry.run_id).tokens.total if cap else 0
        if cap and held + entry.reserved_tokens > cap:
            raise CapExceeded(
                f"the run's cap of {cap} tokens would be crossed: {held} are used or held, and this call may use "
                f"{entry.reserved_tokens}. Raise the cap, or ask for a shorter answer",
                metadata={
                    "cap": "tokens",
                    "limit_tokens": str(cap),
                    "reserved_tokens": str(held),
                    "requested_tokens": str(entry.reserved_tokens),
                },
            )

    def _check(self, book: Book, entry: ReservationRecord, run_cap: Nanos | None) -> None:
        if not entry.reserved:
            return  # what is free crosses no cap
        if run_cap is not None:
            _check_cap("run", run_cap, self._run(entry.workspace, entry.run_id).money, entry.reserved)
        for period, limit in book.limits.items():
            _check_cap(period.value, limit, book.windows[period].at(entry.create_ns), entry.reserved)

    async def _end(
        self, workspace: Workspace, reservation_id: str, billing: Billing, usage: Usage
    ) -> ReservationRecord:
        if workspace not in self._books:
            await self._book(workspace)
        entry = self._entries.get((workspace, reservation_id))
        if entry is not None:
            return await self._change(entry, billing, usage)
        async with self._cold:
            entry = await self._find(workspace, reservation_id)
            if entry is None:
                raise _not_found(reservation_id)
            return await self._change(entry, billing, usage)

    async def _change(self, entry: ReservationRecord, billing: Billing, usage: Usage) -> ReservationRecord:
        """Take the step in memory at once, then make it durable."""
        if entry.billing is billing and (billing is not Billing.SETTLED or usage == entry.usage):
            await self._store.commit(entry)  # the first time may not be durable yet
            return entry
        ended = self._ended(entry, billing, usage)
        self._note(ended, instead_of=entry)
        try:
            await self._store.commit(ended)
        except asyncio.CancelledError:
            self._spawn(self._write(ended))
            raise
        except BaseException:
            if self._is_newest(ended):
                self._note(entry, instead_of=ended)
                self._written(entry)
            raise
        self._written(ended)
        return ended

    def _ended(self, entry: ReservationRecord, billing: Billing, usage: Usage) -> ReservationRecord:
        """Return the entry after this step. Raises `WrongState` where the law has none."""
        if billing not in NEXT[entry.billing]:
            raise WrongState(
                f"reservation {entry.reservation_id} is {entry.billing} already and cannot become {billing}"
                + (" with other figures" if entry.billing is billing else ""),
                metadata=_metadata(entry),
            )
        settled = cost(usage.input_tokens, entry.input_price) + cost(usage.output_tokens, entry.output_price)
        return replace(
            entry,
            billing=billing,
            settled=Nanos(settled if billing is Billing.SETTLED else 0),
            usage=usage,
            end_ns=self._now(),
        )

    def _note(self, entry: ReservationRecord, *, instead_of: ReservationRecord | None = None) -> None:
        """Count the entry in memory, in place of what it was before."""
        self._entries[entry.workspace, entry.reservation_id] = entry
        for one, sign in ((instead_of, -1), (entry, 1)):
            if one is not None:
                self._books[one.workspace].count(one, sign)
                self._run(one.workspace, one.run_id).count(one, sign)

    def _drop(self, entry: ReservationRecord) -> None:
        """Take back an entry that could not be written."""
        newest = self._entries.pop((entry.workspace, entry.reservation_id), None)
        if newest is None:
            return  # it expired meanwhile, and that could be written
        self._books[entry.workspace].count(newest, -1)
        self._run(entry.workspace, entry.run_id).count(newest, -1)

    def _written(self, entry: ReservationRecord) -> None:
        """What has ended and is on the disk need not be in memory."""
        if entry.billing is not Billing.RESERVED and self._is_newest(entry):
            del self._entries[entry.workspace, entry.reservation_id]

    def _is_newest(self, entry: ReservationRecord) -> bool:
        return self._entries.get((entry.workspace, entry.reservation_id)) is entry

    async def _write(self, entry: ReservationRecord) -> None:
        """Write for a caller that does not wait. What the disk refuses stays RESERVED there and is UNKNOWN after the
        next start.
        """
        try:
            await self._store.commit(entry)
        except StorageUnavailable:
            _logger.exception("reservation %s stays open on the disk", entry.reservation_id)
            return
        self._written(entry)

    async def _expire(self, key: _Key) -> None:
        entry = self._entries.get(key)
        if entry is not None and entry.billing is Billing.RESERVED:
            await self._change(entry, Billing.UNKNOWN, Usage())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _surely(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work to its end, also when the caller is cancelled."""
        await asyncio.shield(self._spawn(work))

    def _status(self, period: Period, book: Book) -> CapStatus:
        balance = book.windows[period].at(self._now())
        return CapStatus(
            period=period.value,
            limit=book.limits[period],
            settled=Nanos(balance.settled),
            unknown=Nanos(balance.unknown),
            reserved=Nanos(balance.reserved),
        )


def _check_cap(name: str, limit: Nanos, balance: Balance, money: int) -> None:
    if balance.total + money > limit:
        raise CapExceeded(
            f"the {name}'s cap of {usd(limit)} would be crossed: {usd(balance.total)} is spent or held, "
            f"and this call may cost {usd(money)}. Raise the cap, ask for a shorter answer or take a cheaper model",
            metadata={
                "cap": name,
                "limit_nanos": str(limit),
                "reserved_nanos": str(balance.total),
                "requested_nanos": str(money),
            },
        )


def _period(name: str) -> Period:
    try:
        return Period(name)
    except ValueError:
        raise CapNotFound(f"a cap counts per day or per month, not per {name!r}", metadata={"cap_id": name}) from None


def _not_found(reservation_id: str) -> ReservationNotFound:
    return ReservationNotFound(
        f"there is no reservation {reservation_id} in this workspace", metadata={"reservation_id": reservation_id}
    )


def _metadata(entry: ReservationRecord) -> dict[str, str]:
    return {"reservation_id": entry.reservation_id, "state": entry.billing.value}


__all__ = ["CapStatus", "Ledger", "Price"]
