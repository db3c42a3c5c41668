import asyncio
import random
from pathlib import Path

import pytest
from tests.server.ledger.accounts import HOME, RUN, WallClock, reserve, store_of

from whet_server.errors import CapExceeded, WrongState
from whet_server.ledger.ledger import Ledger
from whet_server.store.base import ReservationRecord, Store
from whet_server.values import Billing, Nanos, Totals, Usage

TASKS = 300
RUN_CAP, DAY_CAP, MONTH_CAP = 900, 1000, 1100


class Crowd:
    """Hundreds of tasks that reserve and end entries in every way, some of them cancelled at a random moment."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger = ledger
        self.chance = random.Random(seed)
        self.refused = 0
        self.most = 0

    def look(self) -> None:
        run = self.ledger.run_totals(RUN)
        assert run.settled + run.unknown + run.reserved <= RUN_CAP
        for cap in self.ledger.caps(HOME):
            counted = cap.settled + cap.unknown + cap.reserved
            assert counted <= cap.limit
            self.most = max(self.most, counted)

    async def one(self) -> None:
        for _ in range(3):
            nanos = self.chance.randrange(1, 40)
            try:
                entry = await reserve(self.ledger, nanos, run_cap=RUN_CAP, run_id=RUN)
            except CapExceeded:
                self.refused += 1
                self.look()
                continue
            self.look()
            for _ in range(self.chance.randrange(3)):
                await asyncio.sleep(0)
            await self.end(entry)
            self.look()

    async def end(self, entry: ReservationRecord) -> None:
        usage = Usage(output_tokens=self.chance.randrange(entry.reserved + 1))
        name = entry.reservation_id
        match self.chance.randrange(6):
            case 0 | 1:
                await self.ledger.settle(HOME, name, usage)
            case 2:
                await self.ledger.release(HOME, name)
            case 3:
                await self.ledger.unknown(HOME, name)
            case 4:
                await self.ledger.unknown(HOME, name)
                await asyncio.gather(self.ledger.settle(HOME, name, usage), self.ledger.settle(HOME, name, usage))
            case _:
                both = (self.ledger.settle(HOME, name, usage), self.ledger.release(HOME, name))
                results = await asyncio.gather(*both, return_exceptions=True)
                assert [type(result) for result in results] in (
                    [ReservationRecord, WrongState],
                    [WrongState, ReservationRecord],
                )

    async def run(self) -> None:
        tasks = [asyncio.create_task(self.one()) for _ in range(TASKS)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            self.look()
            if self.chance.random() < 0.5:
                self.chance.choice(tasks).cancel()
        for task in tasks:
            assert task.cancelled() or task.exception() is None


async def _sums(store: Store) -> Totals:
    """The simple model: add up every entry that is on the disk."""
    entries = await store.reservations(HOME, limit=10**6)

    def money(billing: Billing, field: str) -> Nanos:
        return Nanos(sum(getattr(entry, field) for entry in entries if entry.billing is billing))

    return Totals(
        settled=money(Billing.SETTLED, "settled"),
        unknown=money(Billing.UNKNOWN, "reserved"),
        reserved=money(Billing.RESERVED, "reserved"),
    )


@pytest.mark.parametrize("kind", ["memory", "sql"])
@pytest.mark.parametrize("seed", range(4))
async def test_no_interleaving_crosses_a_cap_and_memory_agrees_with_the_disk(
    kind: str, seed: int, tmp_path: Path
) -> None:
    async with store_of(kind, tmp_path) as store:
        clock = WallClock()
        ledger = await Ledger.open(store, clock=clock)
        await ledger.put_cap(HOME, "day", Nanos(DAY_CAP))
        await ledger.put_cap(HOME, "month", Nanos(MONTH_CAP))
        crowd = Crowd(ledger, seed)
        await crowd.run()
        await ledger.close()
        totals = ledger.run_totals(RUN)
        assert await _sums(store) == totals
        assert crowd.refused
        assert crowd.most > RUN_CAP * 0.9
        again = await Ledger.open(store, clock=clock)
        for cap in again.caps(HOME):
            assert (cap.settled, cap.unknown, cap.reserved) == (totals.settled, totals.unknown + totals.reserved, 0)
