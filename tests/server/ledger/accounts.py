"""Ledgers over both stores, a clock that is set, and short ways to reserve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from whet_server.errors import StorageUnavailable
from whet_server.ledger.ledger import Ledger, Price
from whet_server.store.base import ReservationRecord, Store, Write
from whet_server.store.memory import MemoryStore
from whet_server.store.sql import SqlStore
from whet_server.values import ModelName, Nanos, Workspace

HOME = Workspace("home")
RUN = "fan_1"
MODEL = ModelName("lab/m")
ONE_NANO_A_TOKEN = Price(input=1_000_000, output=1_000_000)


class WallClock:
    """A clock that stands until it is set."""

    def __init__(self, moment: str = "2026-01-15T12:00:00") -> None:
        self.set(moment)

    def set(self, moment: str) -> None:
        """Set it to a moment of UTC."""
        self.now_ns = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * 1_000_000_000

    def __call__(self) -> int:
        return self.now_ns


class StubbornStore(MemoryStore):
    """A store that refuses writes while `full`."""

    full = False

    async def commit(self, *writes: Write) -> None:
        if self.full:
            raise StorageUnavailable("the disk is full")
        await super().commit(*writes)


@asynccontextmanager
async def store_of(kind: str, directory: Path) -> AsyncIterator[Store]:
    """Open a store: `memory` or `sql`."""
    store: Store = MemoryStore() if kind == "memory" else await SqlStore.open(directory / "whet.db")
    try:
        yield store
    finally:
        await store.close()


async def reserve(
    ledger: Ledger,
    nanos: int,
    *,
    run_cap: int | None = None,
    run_token_cap: int = 0,
    call_cap: int | None = None,
    run_id: str = RUN,
    price: Price | None = ONE_NANO_A_TOKEN,
) -> ReservationRecord:
    """Reserve so much money: a token costs a nano."""
    return await ledger.reserve(
        HOME,
        run_id=run_id,
        model=MODEL,
        price=price,
        max_input_tokens=nanos // 2,
        max_output_tokens=nanos - nanos // 2,
        run_cap=None if run_cap is None else Nanos(run_cap),
        run_token_cap=run_token_cap,
        call_cap=None if call_cap is None else Nanos(call_cap),
    )
