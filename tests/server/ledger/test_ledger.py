import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.server.ledger.accounts import HOME, MODEL, ONE_NANO_A_TOKEN, RUN, StubbornStore, WallClock, reserve

from whet_server.errors import (
    CapExceeded,
    CapNotFound,
    PriceUnknown,
    ReservationNotFound,
    StorageUnavailable,
    WrongState,
)
from whet_server.ledger.ledger import CapStatus, Ledger
from whet_server.store.base import RequestRecord, ReservationRecord
from whet_server.values import Billing, Nanos, Role, Run, RunId, RunKind, RunState, Totals, Usage, Workspace

USED = Usage(input_tokens=3, output_tokens=4)


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def store() -> StubbornStore:
    return StubbornStore()


@pytest.fixture
async def ledger(store: StubbornStore, clock: WallClock) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(store, clock=clock)
    yield ledger
    await ledger.close()


def status(period: str, limit: int, settled: int = 0, unknown: int = 0, reserved: int = 0) -> CapStatus:
    return CapStatus(
        period=period, limit=Nanos(limit), settled=Nanos(settled), unknown=Nanos(unknown), reserved=Nanos(reserved)
    )


async def test_a_reservation_is_durable_when_it_is_returned(ledger: Ledger, store: StubbornStore) -> None:
    entry = await reserve(ledger, 10)
    assert (entry.billing, entry.reserved) == (Billing.RESERVED, 10)
    assert await store.reservation(HOME, entry.reservation_id) == entry


async def test_the_worst_case_is_rounded_up(ledger: Ledger) -> None:
    entry = await ledger.reserve(
        HOME, run_id=RUN, model=MODEL, price=ONE_NANO_A_TOKEN, max_input_tokens=0, max_output_tokens=0
    )
    assert entry.reserved == 0
    cheap = await ledger.reserve(
        HOME,
        run_id=RUN,
        model=MODEL,
        price=type(ONE_NANO_A_TOKEN)(input=1, output=1),
        max_input_tokens=1,
        max_output_tokens=1_000_001,
    )
    assert cheap.reserved == 1 + 2


async def test_settled_money_is_what_was_used(ledger: Ledger, store: StubbornStore) -> None:
    entry = await reserve(ledger, 10)
    settled = await ledger.settle(HOME, entry.reservation_id, USED)
    assert (settled.billing, settled.settled, settled.usage) == (Billing.SETTLED, 7, USED)
    assert settled.end_ns is not None
    assert await store.reservation(HOME, entry.reservation_id) == settled
    assert ledger.run_totals(RUN) == Totals(settled=Nanos(7))


async def test_settling_again_with_the_same_figures_changes_nothing(ledger: Ledger) -> None:
    entry = await reserve(ledger, 10)
    first, second = await asyncio.gather(*(ledger.settle(HOME, entry.reservation_id, USED) for _ in range(2)))
    assert first == second == await ledger.settle(HOME, entry.reservation_id, USED)
    assert ledger.run_totals(RUN) == Totals(settled=Nanos(7))
    with pytest.raises(WrongState, match="other figures"):
        await ledger.settle(HOME, entry.reservation_id, Usage(input_tokens=1))


async def test_released_money_is_free_again(ledger: Ledger) -> None:
    entry = await reserve(ledger, 10, run_cap=10)
    with pytest.raises(CapExceeded):
        await reserve(ledger, 1, run_cap=10)
    assert (await ledger.release(HOME, entry.reservation_id)).billing is Billing.NONE
    await reserve(ledger, 10, run_cap=10)


async def test_unknown_money_stays_held_until_the_bill_is_known(ledger: Ledger) -> None:
    entry = await reserve(ledger, 10, run_cap=10)
    seen = Usage(output_tokens=2, estimated=True)
    unknown = await ledger.unknown(HOME, entry.reservation_id, seen)
    assert (unknown.billing, unknown.usage, unknown.settled) == (Billing.UNKNOWN, seen, 0)
    assert ledger.run_totals(RUN) == Totals(unknown=Nanos(10))
    with pytest.raises(CapExceeded):
        await reserve(ledger, 1, run_cap=10)
    results = await asyncio.gather(*(ledger.settle(HOME, entry.reservation_id, USED) for _ in range(5)))
    assert {result.settled for result in results} == {7}
    assert ledger.run_totals(RUN) == Totals(settled=Nanos(7))
    await reserve(ledger, 3, run_cap=10)


@pytest.mark.parametrize(
    ("first", "then"),
    [("settle", "release"), ("settle", "unknown"), ("release", "settle"), ("release", "unknown")],
)
async def test_an_entry_ends_once(ledger: Ledger, first: str, then: str) -> None:
    entry = await reserve(ledger, 10)
    steps = {
        "settle": lambda: ledger.settle(HOME, entry.reservation_id, USED),
        "release": lambda: ledger.release(HOME, entry.reservation_id),
        "unknown": lambda: ledger.unknown(HOME, entry.reservation_id),
    }
    await steps[first]()
    totals = ledger.run_totals(RUN)
    with pytest.raises(WrongState):
        await steps[then]()
    assert ledger.run_totals(RUN) == totals


async def test_a_bill_above_the_reservation_is_recorded_as_it_is(ledger: Ledger) -> None:
    entry = await reserve(ledger, 5)
    await ledger.put_cap(HOME, "day", Nanos(5))
    assert (await ledger.settle(HOME, entry.reservation_id, USED)).settled == 7
    assert ledger.caps(HOME) == [status("day", 5, settled=7)]


async def test_an_entry_of_another_workspace_is_not_found(ledger: Ledger) -> None:
    entry = await reserve(ledger, 5)
    with pytest.raises(ReservationNotFound):
        await ledger.settle(Workspace("elsewhere"), entry.reservation_id, USED)
    with pytest.raises(ReservationNotFound):
        await ledger.release(HOME, "res_nowhere")


async def test_every_cap_that_applies_is_checked_and_a_refusal_takes_nothing(ledger: Ledger) -> None:
    await ledger.put_cap(HOME, "day", Nanos(20))
    await ledger.put_cap(HOME, "month", Nanos(30))
    await reserve(ledger, 15, run_cap=15)
    with pytest.raises(CapExceeded) as refused:
        await reserve(ledger, 6)
    assert refused.value.metadata == {
        "cap": "day",
        "limit_nanos": "20",
        "reserved_nanos": "15",
        "requested_nanos": "6",
    }
    with pytest.raises(CapExceeded, match="run's cap"):
        await reserve(ledger, 1, run_cap=15)
    assert ledger.caps(HOME) == [status("day", 20, reserved=15), status("month", 30, reserved=15)]
    await ledger.delete_cap(HOME, "day")
    with pytest.raises(CapExceeded, match="month's cap"):
        await reserve(ledger, 16)
    await reserve(ledger, 15)


async def test_a_cap_put_in_the_middle_of_a_period_counts_what_was_before_it(
    ledger: Ledger, store: StubbornStore, clock: WallClock
) -> None:
    entry = await reserve(ledger, 10)
    await ledger.settle(HOME, entry.reservation_id, USED)
    await reserve(ledger, 2)
    assert await ledger.put_cap(HOME, "day", Nanos(10)) == status("day", 10, settled=7, reserved=2)
    again = await Ledger.open(store, clock=clock)
    assert again.caps(HOME) == [status("day", 10, settled=7, unknown=2)]
    assert await again.put_cap(HOME, "month", Nanos(10)) == status("month", 10, settled=7, unknown=2)


async def test_a_cap_below_what_is_spent_refuses_what_costs_and_lets_pass_what_is_free(ledger: Ledger) -> None:
    await reserve(ledger, 10)
    await ledger.put_cap(HOME, "day", Nanos(5))
    with pytest.raises(CapExceeded):
        await reserve(ledger, 1)
    await reserve(ledger, 0)


async def test_a_call_above_its_own_cap_takes_nothing(ledger: Ledger) -> None:
    await reserve(ledger, 10, call_cap=10)
    with pytest.raises(CapExceeded, match="the call's cap"):
        await reserve(ledger, 11, call_cap=10)
    await reserve(ledger, 0, call_cap=0)
    assert ledger.run_totals(RUN).reserved == 10


async def test_a_model_without_a_price_is_refused_where_a_cap_applies(ledger: Ledger) -> None:
    async def unpriced(run_cap: Nanos | None, call_cap: Nanos | None = None) -> ReservationRecord:
        return await ledger.reserve(
            HOME,
            run_id=RUN,
            model=MODEL,
            price=None,
            max_input_tokens=9,
            max_output_tokens=9,
            run_cap=run_cap,
            call_cap=call_cap,
        )

    entry = await unpriced(None)
    assert entry.reserved == 0
    assert (await ledger.settle(HOME, entry.reservation_id, USED)).usage == USED
    with pytest.raises(PriceUnknown):
        await unpriced(Nanos(10**12))
    with pytest.raises(PriceUnknown):
        await unpriced(None, Nanos(10**12))
    assert not ledger.caps(HOME)
    await ledger.put_cap(HOME, "month", Nanos(10**12))
    assert ledger.caps(HOME)
    with pytest.raises(PriceUnknown):
        await unpriced(None)


async def test_caps_are_the_workspaces_own(ledger: Ledger) -> None:
    elsewhere = Workspace("elsewhere")
    await ledger.put_cap(elsewhere, "day", Nanos(0))
    await reserve(ledger, 10)
    assert ledger.caps(HOME) == []
    assert ledger.caps(elsewhere) == [status("day", 0)]
    with pytest.raises(CapNotFound):
        await ledger.delete_cap(HOME, "day")
    with pytest.raises(CapNotFound):
        await ledger.put_cap(HOME, "year", Nanos(1))


async def test_a_day_ends_at_midnight_and_takes_its_money_with_it(ledger: Ledger, clock: WallClock) -> None:
    clock.set("2026-01-31T23:59:59")
    await ledger.put_cap(HOME, "day", Nanos(10))
    await ledger.put_cap(HOME, "month", Nanos(100))
    yesterday = await reserve(ledger, 10)
    with pytest.raises(CapExceeded):
        await reserve(ledger, 1)
    clock.set("2026-02-01T00:00:00")
    assert ledger.caps(HOME) == [status("day", 10), status("month", 100)]
    await reserve(ledger, 4)
    await ledger.settle(HOME, yesterday.reservation_id, Usage(output_tokens=9))
    assert ledger.caps(HOME) == [status("day", 10, reserved=4), status("month", 100, reserved=4)]
    clock.set("2026-02-02T00:00:00")
    await reserve(ledger, 10)
    assert ledger.caps(HOME) == [status("day", 10, reserved=10), status("month", 100, reserved=14)]


async def test_money_of_a_new_day_counts_although_nobody_asked_in_between(ledger: Ledger, clock: WallClock) -> None:
    await reserve(ledger, 3)
    clock.set("2026-03-01T00:00:00")
    await reserve(ledger, 4)
    assert await ledger.put_cap(HOME, "day", Nanos(9)) == status("day", 9, reserved=4)


async def test_a_clock_that_is_set_back_opens_no_second_purse(ledger: Ledger, clock: WallClock) -> None:
    await ledger.put_cap(HOME, "day", Nanos(10))
    await reserve(ledger, 6)
    clock.set("2026-01-14T00:00:00")
    await reserve(ledger, 4)
    with pytest.raises(CapExceeded):
        await reserve(ledger, 1)


async def test_what_a_crash_left_reserved_is_unknown_at_the_next_start(store: StubbornStore, clock: WallClock) -> None:
    before = await Ledger.open(store, clock=clock)
    await before.put_cap(HOME, "day", Nanos(2000))
    entries = [await reserve(before, 1) for _ in range(600)]
    await before.settle(HOME, entries[0].reservation_id, Usage(output_tokens=1))
    after = await Ledger.open(store, clock=clock)
    assert after.caps(HOME) == [status("day", 2000, settled=1, unknown=599)]
    assert await store.reservations(None, billing=Billing.RESERVED) == []
    settled = await after.settle(HOME, entries[1].reservation_id, Usage())
    assert settled.settled == 0
    assert after.caps(HOME) == [status("day", 2000, settled=1, unknown=598)]


async def test_a_run_taken_up_again_keeps_what_it_has_spent(store: StubbornStore, clock: WallClock) -> None:
    before = await Ledger.open(store, clock=clock)
    running = Run(
        run_id=RunId(RUN),
        workspace=HOME,
        kind=RunKind.FANOUT,
        title="",
        state=RunState.RUNNING,
        role=Role.PERSON,
        create_ns=1,
    )
    await store.commit(running)
    entry = await reserve(before, 10, run_cap=20)
    await before.settle(HOME, entry.reservation_id, USED)
    await reserve(before, 5, run_cap=20)
    after = await Ledger.open(store, clock=clock)
    assert after.run_totals(RUN) == Totals(settled=Nanos(7), unknown=Nanos(5))
    with pytest.raises(CapExceeded):
        await reserve(after, 9, run_cap=20)
    await reserve(after, 8, run_cap=20)
    after.forget_run(RUN)
    assert after.run_totals(RUN) == Totals()


async def test_what_the_disk_refuses_is_not_counted(ledger: Ledger, store: StubbornStore) -> None:
    entry = await reserve(ledger, 4)
    store.full = True
    with pytest.raises(StorageUnavailable):
        await reserve(ledger, 5)
    with pytest.raises(StorageUnavailable):
        await ledger.settle(HOME, entry.reservation_id, USED)
    with pytest.raises(StorageUnavailable):
        await ledger.put_cap(HOME, "day", Nanos(1))
    assert ledger.run_totals(RUN) == Totals(reserved=Nanos(4))
    assert not ledger.caps(HOME)
    store.full = False
    await ledger.settle(HOME, entry.reservation_id, Usage(input_tokens=1))
    assert ledger.run_totals(RUN) == Totals(settled=Nanos(1))


async def test_a_caller_cancelled_while_reserving_has_reserved_nothing(ledger: Ledger, store: StubbornStore) -> None:
    await reserve(ledger, 0)
    task = asyncio.create_task(reserve(ledger, 10))
    await asyncio.sleep(0)
    assert ledger.run_totals(RUN).reserved == 10
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.run_totals(RUN) == Totals()
    await ledger.close()
    assert {entry.billing for entry in await store.reservations(HOME) if entry.reserved} <= {Billing.NONE}


async def test_a_named_entry_is_made_once(ledger: Ledger, store: StubbornStore) -> None:
    request = RequestRecord(
        workspace=HOME, request_id="r", method="Reserve", payload_digest="", answer="res_mine", create_ns=1
    )

    async def named(tokens: int) -> ReservationRecord:
        return await ledger.reserve(
            HOME,
            run_id=RUN,
            model=MODEL,
            price=ONE_NANO_A_TOKEN,
            max_input_tokens=tokens,
            max_output_tokens=0,
            reservation_id="res_mine",
            also=[request],
        )

    first, second = await asyncio.gather(named(5), named(5))
    assert first == second
    assert ledger.run_totals(RUN) == Totals(reserved=Nanos(5))
    assert await store.request(HOME, "r") == request
    with pytest.raises(WrongState):
        await named(6)
    settled = await ledger.settle(HOME, "res_mine", USED)
    assert await named(5) == settled


async def test_a_caller_cancelled_while_reserving_a_named_entry_finds_it_again(ledger: Ledger) -> None:
    await reserve(ledger, 0)

    async def named() -> ReservationRecord:
        return await ledger.reserve(
            HOME,
            run_id=RUN,
            model=MODEL,
            price=ONE_NANO_A_TOKEN,
            max_input_tokens=5,
            max_output_tokens=0,
            reservation_id="res_mine",
        )

    task = asyncio.create_task(named())
    await asyncio.sleep(0)
    assert ledger.run_totals(RUN).reserved == 5
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (await named()).billing is Billing.RESERVED
    assert ledger.run_totals(RUN) == Totals(reserved=Nanos(5))


async def test_an_entry_nobody_settles_in_time_becomes_unknown_by_itself(store: StubbornStore) -> None:
    clock = WallClock()
    ledger = await Ledger.open(store, clock=clock)

    async def brief(seconds: float) -> ReservationRecord:
        return await ledger.reserve(
            HOME,
            run_id=RUN,
            model=MODEL,
            price=ONE_NANO_A_TOKEN,
            max_input_tokens=5,
            max_output_tokens=0,
            ttl_seconds=seconds,
        )

    late, quick, patient = await brief(60), await brief(60), await brief(3600)
    await ledger.settle(HOME, quick.reservation_id, USED)
    clock.set("2026-01-15T12:02:00")
    async with asyncio.timeout(10):
        while ledger.run_totals(RUN).unknown != 5:
            await brief(3600)
            await asyncio.sleep(0)
    await ledger.close()
    found = {entry.reservation_id: entry.billing for entry in await store.reservations(HOME, limit=10**6)}
    assert found[late.reservation_id] is Billing.UNKNOWN
    assert found[quick.reservation_id] is Billing.SETTLED
    assert found[patient.reservation_id] is Billing.RESERVED
