"""Calls cut off at random points: nothing stays behind, whoever cuts them and however often."""

import asyncio
import random

import pytest
from tests.server.llm.house import HOME, RUN, Diary, House, open_house, spec

from whet_server.llm.base import RateLimits
from whet_server.log.lifecycle import BranchState
from whet_server.values import Billing, CallLimits

LIMITS = CallLimits(connect=10.0, first_token=20.0, idle=20.0, total=40.0)
AT_ONCE = 100
MODELS = ("plain?chunks=8&gap_ms=20", "hang-before-headers", "hang-mid-stream", "slow-tokens", "server-error", "plain")


async def _cut(house: House, draw: random.Random, number: int) -> None:
    """Start a call and cut it off after a moment, by its event, by its task, or by both in either order."""
    stop = asyncio.Event()
    model = draw.choice(MODELS)
    calling = asyncio.create_task(house.call(spec(model, call=f"b{number}", limits=LIMITS), Diary(), stop))
    for _ in range(draw.randrange(12)):
        await asyncio.sleep(draw.choice([0.0, 0.0, 0.001, 0.005]))
    how = draw.randrange(4)
    if how in (0, 2):
        stop.set()
    if how == 2:
        await asyncio.sleep(0)
    if how != 0:
        calling.cancel()
    if how == 3:
        await asyncio.sleep(0)
        calling.cancel()
        stop.set()
    try:
        result = await calling
    except asyncio.CancelledError:
        assert how != 0
    else:
        assert result.state in {BranchState.CANCELLED, BranchState.PARTIAL, BranchState.DONE, BranchState.FAILED}
        assert not [attempt for attempt in result.attempts if attempt.billing is Billing.RESERVED]


def _ours() -> list[asyncio.Task[object]]:
    """The tasks whose work is the server's; the stub in this process has its own."""
    mine = asyncio.current_task()
    return [
        task
        for task in asyncio.all_tasks()
        if task is not mine and "whet_server" in getattr(getattr(task.get_coro(), "cr_code", None), "co_filename", "")
    ]


async def _cut_many(calls: int, seed: int) -> None:
    draw = random.Random(seed)
    async with open_house(seed=seed) as house:
        for start in range(0, calls, AT_ONCE):
            async with asyncio.timeout(60):
                numbers = range(start, min(calls, start + AT_ONCE))
                await asyncio.gather(*(_cut(house, random.Random(draw.random()), number) for number in numbers))
        async with asyncio.timeout(10):
            await house.stub.quiet()
            if left := _ours():
                await asyncio.wait(left)
        await house.ledger.close()
        assert await house.store.reservations(HOME, billing=Billing.RESERVED, limit=500) == []
        assert house.ledger.run_totals(RUN).reserved == 0
        assert house.endpoints.get(HOME, "stub").in_flight == 0
        session = house.transport._session
        assert session is not None
        assert session.connector is not None
        assert not session.connector._acquired


async def test_hundreds_of_cancels_leave_no_task_socket_or_reservation() -> None:
    await _cut_many(400, seed=1)


@pytest.mark.slow
async def test_ten_thousand_cancels_leave_no_task_socket_or_reservation() -> None:
    await _cut_many(10_000, seed=2)


@pytest.mark.parametrize("model", ["hang-before-headers", "hang-mid-stream"])
async def test_a_call_cancelled_while_its_money_is_settled_settles_it_all_the_same(model: str) -> None:
    async with open_house() as house:
        diary = Diary()
        calling = asyncio.create_task(house.call(spec(model, limits=LIMITS), diary))
        async with asyncio.timeout(5):
            await (diary.spoke if model == "hang-mid-stream" else diary.asked).wait()
        calling.cancel()
        await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert house.ledger.run_totals(RUN).reserved == 0
        await house.ledger.close()
        (entry,) = await house.store.reservations(HOME)
    assert entry.billing is Billing.UNKNOWN


async def test_a_call_cut_off_while_it_waits_for_a_retry_ends_at_once() -> None:
    async with open_house() as house:
        diary, stop = Diary(), asyncio.Event()
        calling = asyncio.create_task(
            house.call(spec("rate-limited-date", limits=CallLimits(total=100.0)), diary, stop)
        )
        async with asyncio.timeout(5):
            await diary.waits.wait()
            stop.set()
            result = await calling
    assert result.state is BranchState.CANCELLED
    assert len(result.attempts) == 1


async def test_a_call_cut_off_while_it_waits_for_a_place_was_never_sent() -> None:
    async with open_house(limits=RateLimits(max_concurrency=1)) as house:
        first, waiting, stop = Diary(), Diary(), asyncio.Event()
        holding = asyncio.create_task(house.call(spec("hang-mid-stream", limits=LIMITS), first))
        async with asyncio.timeout(5):
            await first.spoke.wait()
            calling = asyncio.create_task(house.call(spec("plain", limits=LIMITS), waiting, stop))
            await waiting.waits.wait()
            stop.set()
            result = await calling
            holding.cancel()
            await asyncio.wait([holding])
        assert house.stub.requests == 1
    assert result.state is BranchState.CANCELLED
    assert result.attempts == ()
