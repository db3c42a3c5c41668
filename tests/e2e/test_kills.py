import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.e2e import bill
from tests.e2e.load import PRICED, Kept, Load
from tests.e2e.record import Seen, check_record
from tests.e2e.serving import House, Wire
from tests.e2e.till import Till

from whet.v1 import error_reason_pb2, event_pb2, fanout_pb2, ledger_pb2, value_pb2

CLIENTS = 8
STEP = 6_000_000
"""Nanos by which the caps are raised in every life of the server: enough for some runs, and then they bind."""
STUMBLES = 0.2
"""How often the next server is killed too, before it is ready or just after."""
START_SECONDS = (0.1, 0.6)
"""In which a server makes its directory, or takes up what another left."""
RECHECKED = 20
"""Finished runs whose record is read again after each kill; at the end all are."""


@asynccontextmanager
async def under_load(house: House, seed: int) -> AsyncIterator[tuple[Load, Till]]:
    """Have clients at work; at the end let them finish what they began."""
    load, till = Load(house, seed), Till(house, f"seed {seed}", step=STEP)
    await till.raise_limit()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(till.watch())
        clients = [group.create_task(load.work(number)) for number in range(CLIENTS)]
        yield load, till
        load.stopping.set()
        await asyncio.wait(clients)
        watching.cancel()


async def survive(house: House, stub: str, *, kills: int, seed: int, ready: float) -> None:
    """Kill the server at random points, and look each time whether it knows what it has said."""
    draw = random.Random(seed)
    await house.start()
    async with under_load(house, seed) as (load, till):
        for _ in range(kills):
            await asyncio.sleep(draw.choice((0.1, 0.5, 0.9)) * draw.random())  # now and then while it recovers
            await house.kill()
            before = list(load.seen)
            if draw.random() < STUMBLES:
                await house.stumble(draw.uniform(*START_SECONDS))
            wire = await house.start()
            assert house.seconds_to_ready[-1] < ready, (seed, house.seconds_to_ready)
            await till.raise_limit()
            await nothing_is_lost(wire, before, draw)
    wire = await house.wire()
    for seen in load.seen:
        await check_record(wire, seen)
    await the_money_is_right(wire, load, till, stub)
    the_load_was_one(load, till, kills)


async def nothing_is_lost(wire: Wire, seen: Sequence[Seen], draw: random.Random) -> None:
    known = [one for one in seen if one.run_id]
    assert {one.run_id for one in known} <= await run_ids(wire), known[0].said
    under_way = [one for one in known if one.finished is None]
    for one in under_way + draw.sample(known, min(len(known), RECHECKED)):
        await check_record(wire, one)


async def run_ids(wire: Wire) -> set[str]:
    found: set[str] = set()
    token = ""
    while True:
        page = value_pb2.Page(size=500, token=token)
        answer = await wire.ask(wire.fanouts.ListFanouts, fanout_pb2.ListFanoutsRequest(page=page))
        found |= {fanout.run_id for fanout in answer.fanouts}
        token = answer.next_page_token
        if not token:
            return found


async def the_money_is_right(wire: Wire, load: Load, till: Till, stub: str) -> None:
    said = f"seed {load.seed}"
    entries, charges = await bill.entries(wire), await bill.charges(stub)
    of_runs: dict[str, list[ledger_pb2.Reservation]] = {}
    for entry in entries:
        of_runs.setdefault(entry.run_id, []).append(entry)
    bill.compare(charges, [entry for entry in entries if entry.run_id.startswith("fan_")], load.questions, said)
    assert sum(owed.nanos for owed in charges) <= bill.sums(entries).counted <= till.limit, said
    paid = Counter((owed.question, owed.model) for owed in charges)
    for seen in load.seen:
        for model, calls in planned(seen).items():
            assert paid[seen.request.request_id, model] <= calls, (said, seen.run_id, model, "paid twice")
        sums = bill.sums(of_runs.get(seen.run_id, ()))
        assert seen.finished is not None
        if seen.request.spec.HasField("cap"):
            assert sums.counted <= seen.request.spec.cap.nanos, (said, seen.run_id)
        totals = seen.finished.totals
        assert (sums.settled, sums.unknown, sums.reserved) == (totals.settled.nanos, totals.unknown.nanos, 0), (
            said,
            seen.run_id,
        )
    for kept in load.kept:
        reservation_is_as_told(of_runs[kept.request.run_id], kept, said)


def planned(seen: Seen) -> Counter[str]:
    """Return how often each model that needs no retry may be asked, failovers included."""
    calls: Counter[str] = Counter()
    for branch in seen.request.spec.branches:
        for model in (branch.model, *branch.failover):
            if model in PRICED:
                calls[model.partition("/")[2]] += max(1, branch.samples)
    return calls


def reservation_is_as_told(entries: Sequence[ledger_pb2.Reservation], kept: Kept, said: str) -> None:
    (entry,) = entries
    assert entry.reservation_id == kept.told.reservation_id, said
    if kept.ended is not None:
        assert entry == kept.ended, said
    else:
        assert entry.reserved == kept.told.reserved, said
        assert entry.billing in {value_pb2.BILLING_RESERVED, value_pb2.BILLING_UNKNOWN}, said


def the_load_was_one(load: Load, till: Till, kills: int) -> None:
    """Every kind of end that a kill or a cap can bring was among what was seen."""
    ends = [end for seen in load.seen for end in seen.ends.values()]
    reasons = Counter(end.failure.reason for end in ends)
    told = (f"seed {load.seed}", reasons, till.looks)
    assert any(end.state == event_pb2.BRANCH_STATE_DONE for end in ends), told
    assert reasons[error_reason_pb2.ERROR_REASON_INTERRUPTED], told
    assert reasons[error_reason_pb2.ERROR_REASON_CAP_EXCEEDED] or load.refused, told
    assert till.looks > kills, told


async def test_a_kill_in_the_very_first_start_leaves_a_directory_that_starts(tmp_path: Path) -> None:
    draw = random.Random(4)
    for number in range(3):
        seconds = draw.uniform(*START_SECONDS)
        house = House(data=tmp_path / str(number) / "data", config="")
        house.data.parent.mkdir()
        try:
            await house.stumble(seconds)
            wire = await house.start()
            assert await run_ids(wire) == set()
            assert house.complaints() == [], f"killed after {seconds} seconds"
        finally:
            await house.close()


async def test_five_kills_under_load_lose_nothing_double_nothing_and_cross_no_cap(house: House, stub: str) -> None:
    await survive(house, stub, kills=5, seed=1, ready=15.0)  # other tests run beside it; the slow ones know the bar


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3])
async def test_fifty_kills_under_load_lose_nothing_double_nothing_and_cross_no_cap(
    house: House, stub: str, seed: int
) -> None:
    await survive(house, stub, kills=50, seed=seed, ready=2.0)
