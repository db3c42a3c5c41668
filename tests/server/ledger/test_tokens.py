import asyncio
import random
from pathlib import Path

import pytest
from tests.server.ledger.accounts import HOME, RUN, StubbornStore, WallClock, reserve, store_of

from whet_server.errors import CapExceeded, StorageUnavailable
from whet_server.ledger.ledger import Ledger, Price
from whet_server.store.base import Store
from whet_server.values import Nanos, Role, Run, RunId, RunKind, RunState, Usage

FREE = Price(input=0, output=0)
CAP = 200
TASKS = 200


async def held(store: Store) -> int:
    return sum(line.held_tokens for line in await store.usage(HOME, group="all", run_id=RUN))


async def test_a_free_model_s_tokens_are_held_to_the_run_s_cap_too() -> None:
    ledger = await Ledger.open(StubbornStore(), clock=WallClock())
    first = await reserve(ledger, 60, run_token_cap=100, price=FREE)
    with pytest.raises(CapExceeded) as refused:
        await reserve(ledger, 41, run_token_cap=100, price=FREE)
    assert refused.value.metadata == {
        "cap": "tokens",
        "limit_tokens": "100",
        "reserved_tokens": "60",
        "requested_tokens": "41",
    }
    await ledger.settle(HOME, first.reservation_id, Usage(input_tokens=20, output_tokens=19))
    await reserve(ledger, 61, run_token_cap=100, price=FREE)
    await reserve(ledger, 1000, price=FREE)  # whoever names no cap is held to none
    await ledger.close()


async def test_a_model_without_a_price_is_held_to_a_token_cap_alone() -> None:
    ledger = await Ledger.open(StubbornStore(), clock=WallClock())
    await reserve(ledger, 60, run_token_cap=100, price=None)
    with pytest.raises(CapExceeded, match="cap of 100 tokens"):
        await reserve(ledger, 60, run_token_cap=100, price=None)
    await ledger.close()


async def test_what_is_unknown_holds_its_most_tokens_and_what_was_not_sent_none() -> None:
    ledger = await Ledger.open(StubbornStore(), clock=WallClock())
    sent, not_sent = [await reserve(ledger, 50, run_token_cap=100) for _ in range(2)]
    await ledger.unknown(HOME, sent.reservation_id, Usage(output_tokens=1, estimated=True))
    await ledger.release(HOME, not_sent.reservation_id)
    await reserve(ledger, 50, run_token_cap=100)
    with pytest.raises(CapExceeded):
        await reserve(ledger, 1, run_token_cap=100)
    await ledger.close()


async def test_an_entry_that_could_not_be_written_holds_no_tokens() -> None:
    store = StubbornStore()
    ledger = await Ledger.open(store, clock=WallClock())
    store.full = True
    with pytest.raises(StorageUnavailable):
        await reserve(ledger, 100, run_token_cap=100)
    store.full = False
    await reserve(ledger, 100, run_token_cap=100)
    await ledger.close()


@pytest.mark.parametrize("kind", ["memory", "sql"])
async def test_tokens_are_counted_alike_after_a_restart(kind: str, tmp_path: Path) -> None:
    async with store_of(kind, tmp_path) as store:
        run = Run(
            run_id=RunId(RUN),
            workspace=HOME,
            kind=RunKind.SWEEP,
            title="",
            state=RunState.RUNNING,
            role=Role.PERSON,
            create_ns=1,
        )
        await store.commit(run)
        before = await Ledger.open(store, clock=WallClock())
        settled, unknown, _ = [await reserve(before, 30, run_token_cap=100) for _ in range(3)]
        await before.settle(HOME, settled.reservation_id, Usage(input_tokens=5, output_tokens=5))
        await before.unknown(HOME, unknown.reservation_id, Usage(output_tokens=2, estimated=True))
        await before.close()
        after = await Ledger.open(store, clock=WallClock())
        with pytest.raises(CapExceeded, match="70 are used or held"):
            await reserve(after, 31, run_token_cap=100)
        await reserve(after, 30, run_token_cap=100)
        await after.close()


@pytest.mark.parametrize("seed", range(3))
async def test_no_crowd_crosses_a_token_cap(seed: int) -> None:
    store, chance = StubbornStore(), random.Random(seed)
    ledger = await Ledger.open(store, clock=WallClock())
    refused, most = 0, 0

    async def one() -> None:
        nonlocal refused, most
        try:
            entry = await reserve(ledger, chance.randrange(2, 40), run_token_cap=CAP, price=FREE)
        except CapExceeded:
            refused += 1
            return
        most = max(most, await held(store))
        assert most <= CAP
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        usage = Usage(output_tokens=chance.randrange(entry.reserved_tokens + 1))
        ends = (ledger.settle(HOME, entry.reservation_id, usage), ledger.release(HOME, entry.reservation_id))
        chosen, other = ends if chance.random() < 0.3 else reversed(ends)
        other.close()
        await chosen

    tasks = [asyncio.create_task(one()) for _ in range(TASKS)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        assert await held(store) <= CAP
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
    assert not [task.exception() for task in tasks if not task.cancelled() and task.exception()]
    assert refused
    assert most > CAP * 0.8
    assert ledger.run_totals(RUN).settled == Nanos(0)
    await ledger.close()
