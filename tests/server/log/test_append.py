import asyncio
import itertools

import pytest
from tests.server.log.runs import (
    HOME,
    RUN_ID,
    SUCCEEDED,
    Clock,
    StubbornStore,
    delta,
    everything,
    finished,
    new_run,
    opened,
    sequences,
)

from whet_server.errors import RunNotFound, StorageUnavailable, WrongState
from whet_server.log.chain import genesis, link
from whet_server.log.log import EventLog
from whet_server.store.base import CapRecord
from whet_server.values import Nanos, RunId, RunState, Totals, Workspace


@pytest.fixture
def store() -> StubbornStore:
    return StubbornStore()


@pytest.fixture
def log(store: StubbornStore) -> EventLog:
    return EventLog(store, clock=Clock())


async def test_events_are_numbered_densely_and_each_hash_stands_on_the_one_before(
    log: EventLog, store: StubbornStore
) -> None:
    writer = await log.open(new_run(), opened())
    await writer.append(finished(1), finished(2))
    await writer.finish(SUCCEEDED)
    records = await store.events(RUN_ID)
    assert [record.sequence for record in records] == [1, 2, 3, 4]
    hashes = [genesis(RUN_ID), *(record.hash for record in records)]
    assert all(link(a, r.record) == b for (a, b), r in zip(itertools.pairwise(hashes), records, strict=True))
    assert [event.hash for event in await log.events(HOME, RUN_ID)] == hashes[1:]


async def test_the_row_knows_the_last_event_the_sums_and_the_end(log: EventLog, store: StubbornStore) -> None:
    writer = await log.open(new_run(), opened())
    await writer.append(finished(1), finished(2))
    assert writer.run.totals == Totals(settled=Nanos(4), attempts=2)
    assert await store.run(RUN_ID) == await log.run(HOME, RUN_ID) == writer.run
    await writer.finish(SUCCEEDED)
    run = await log.run(HOME, RUN_ID)
    assert (run.state, run.event_count, run.totals) == (RunState.SUCCEEDED, 4, SUCCEEDED.totals)
    assert run.end_ns is not None
    assert run.head_hash == (await store.events(RUN_ID))[-1].hash


async def test_appends_of_many_tasks_are_shown_in_the_order_of_their_numbers_once_they_are_durable(
    log: EventLog, store: StubbornStore
) -> None:
    writer = await log.open(new_run(), opened())
    shown = asyncio.create_task(everything(log))
    await asyncio.sleep(0)

    async def append(number: int) -> None:
        await writer.append(finished(number))
        assert any(record.sequence == number + 1 for record in await store.events(RUN_ID, limit=1000))

    await asyncio.gather(*(append(number) for number in range(1, 701)))
    await writer.finish(SUCCEEDED)
    events = await shown
    assert sequences(events) == list(range(1, 703))
    assert [getattr(event.payload, "branch_id", "") for event in events[1:-1]] == [f"b{n}" for n in range(1, 701)]


async def test_other_writes_become_durable_with_the_events(log: EventLog, store: StubbornStore) -> None:
    cap = CapRecord(workspace=HOME, period="day", limit=Nanos(1))
    month = CapRecord(workspace=HOME, period="month", limit=Nanos(1))
    writer = await log.open(new_run(), opened(), also=[cap])
    await writer.append(finished(1), also=[month])
    assert await store.caps(HOME) == [cap, month]


async def test_an_append_that_the_disk_refuses_takes_no_number_and_is_not_shown(
    log: EventLog, store: StubbornStore
) -> None:
    writer = await log.open(new_run(), opened())
    shown = asyncio.create_task(everything(log))
    await asyncio.sleep(0)
    store.full = True
    refused = await asyncio.gather(*(writer.append(finished(n)) for n in range(3)), return_exceptions=True)
    assert [type(error) for error in refused] == [StorageUnavailable] * 3
    with pytest.raises(StorageUnavailable):
        await writer.finish(SUCCEEDED)
    store.full = False
    await writer.append(finished(7))
    await writer.finish(SUCCEEDED)
    assert sequences(await shown) == [1, 2, 3]
    assert (await log.verify(HOME, RUN_ID)).valid


async def test_a_wrong_write_beside_an_append_hurts_only_that_append(log: EventLog) -> None:
    writer = await log.open(new_run(), opened())
    results = await asyncio.gather(
        writer.append(finished(1)),
        writer.append(finished(2), also=["no write"]),  # type: ignore[list-item]  # the point of the test
        writer.append(finished(3)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), TypeError, type(None)]
    assert writer.run.event_count == 3


async def test_a_cancelled_append_neither_stops_nor_tears_the_others(log: EventLog) -> None:
    writer = await log.open(new_run(), opened())
    shown = asyncio.create_task(everything(log))
    tasks = [asyncio.create_task(writer.append(finished(number))) for number in range(1, 31)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await writer.finish(SUCCEEDED)
    assert sequences(await shown) == list(range(1, writer.run.event_count + 1))
    assert writer.run.event_count >= 2 + len(tasks[1::2])
    assert (await log.verify(HOME, RUN_ID)).valid


async def test_nothing_follows_the_last_event(log: EventLog) -> None:
    writer = await log.open(new_run(), opened())
    finishing = asyncio.create_task(writer.finish(SUCCEEDED))
    await asyncio.sleep(0)
    with pytest.raises(WrongState):
        await writer.append(finished(1))
    with pytest.raises(WrongState):
        await writer.finish(SUCCEEDED)
    await finishing
    writer.emit(delta(1, 0, "late"))
    with pytest.raises(TypeError, match="finish"):
        await (await log.open(new_run(RunId("fan_2")), opened(RunId("fan_2")))).append(SUCCEEDED)


async def test_a_run_that_cannot_be_written_does_not_exist(log: EventLog, store: StubbornStore) -> None:
    store.full = True
    with pytest.raises(StorageUnavailable):
        await log.open(new_run(), opened())
    store.full = False
    with pytest.raises(RunNotFound):
        await log.run(HOME, RUN_ID)


async def test_a_run_whose_opener_is_cancelled_ends_as_cancelled(log: EventLog) -> None:
    opening = asyncio.create_task(log.open(new_run(), opened()))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asyncio.gather(*log._abandoning)
    assert (await log.run(HOME, RUN_ID)).state is RunState.CANCELLED
    assert sequences(await everything(log)) == [1, 2]


async def test_another_workspace_cannot_see_a_run(log: EventLog) -> None:
    writer = await log.open(new_run(), opened())
    elsewhere = Workspace("elsewhere")
    for _ in ("while it runs", "after its end"):
        with pytest.raises(RunNotFound):
            await log.run(elsewhere, RUN_ID)
        with pytest.raises(RunNotFound):
            await log.events(elsewhere, RUN_ID)
        with pytest.raises(RunNotFound):
            await anext(log.watch(elsewhere, RUN_ID))
        with pytest.raises(RunNotFound):
            await anext(log.export(elsewhere, RUN_ID))
        with pytest.raises(RunNotFound):
            await log.verify(elsewhere, RUN_ID)
        if writer.run.state is RunState.RUNNING:
            await writer.finish(SUCCEEDED)


async def test_a_run_left_by_a_crash_is_taken_up_after_its_last_event(log: EventLog, store: StubbornStore) -> None:
    writer = await log.open(new_run(), opened())
    await writer.append(finished(1))
    with pytest.raises(WrongState):
        await log.reopen(new_run())
    after_crash = EventLog(store, clock=Clock())
    assert sequences(await everything(after_crash)) == [1, 2]
    [left] = await after_crash.runs(None, state=RunState.RUNNING)
    writer = await after_crash.reopen(left)
    await writer.append(finished(2))
    await writer.finish(SUCCEEDED)
    assert sequences(await everything(after_crash)) == [1, 2, 3, 4]
    assert (await after_crash.verify(HOME, RUN_ID)).valid
    with pytest.raises(WrongState):
        await after_crash.reopen(left)
