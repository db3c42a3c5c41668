import asyncio
import random

import grpc.aio
import pytest
from tests.e2e import bill
from tests.e2e.record import Seen, check_record, run_once, watch_once
from tests.e2e.serving import PATIENCE, House, Wire, excuse

from whet.v1 import event_pb2, fanout_pb2, value_pb2

SLOW = "stub/plain?chunks=30&gap_ms=8"
FAST = "stub/plain?chunks=12&gap_ms=4"
DRAFTER = "stub/plain?chunks=9&gap_ms=5"
FREE = "sim/any?first_ms=100&tokens=40&rate=100"
STAY_MS = (10, 300)
"""How long a client stays: so that most are gone in the middle of an answer."""


def question(number: int, *models: str) -> fanout_pb2.RunFanoutRequest:
    spec = fanout_pb2.FanoutSpec(
        prompt=f"{bill.mark(number)}: what is a monad?",
        models=models,
        parameters=value_pb2.Parameters(max_tokens=40),
        synthesis=fanout_pb2.Synthesis(model=DRAFTER, parameters=value_pb2.Parameters(max_tokens=12)),
    )
    return fanout_pb2.RunFanoutRequest(request_id=bill.mark(number), spec=spec)


async def come_and_go(house: House, seen: Seen, draw: random.Random) -> int:
    """Follow a run to its end, leaving at random moments and coming back at a random cursor; return how often."""
    visits = 0
    while seen.finished is None:
        visits += 1
        wire, life = await house.wire(), house.lives
        at = -1 if draw.random() < 0.7 else draw.randrange(len(seen.cursors))
        visit = run_once(wire, seen) if not seen.run_id else watch_once(wire, seen, at)
        try:
            async with asyncio.timeout(draw.randint(*STAY_MS) / 1_000):
                await visit
        except TimeoutError:
            continue
        except grpc.aio.AioRpcError as error:
            excuse(house, life, error)
        else:
            assert seen.finished is not None, (seen.said, "a stream ended before its run")
    return visits


async def whole(wire: Wire, run_id: str, said: object) -> Seen:
    """Read a run anew, from its beginning to its end."""
    seen = Seen(fanout_pb2.RunFanoutRequest(), run_id=run_id, said=said)
    async with asyncio.timeout(PATIENCE):
        await watch_once(wire, seen)
    return seen


async def test_a_client_that_stays_has_every_text_before_its_end_is_told(house: House) -> None:
    seen = Seen(question(1, SLOW, FAST, FREE))
    await run_once(await house.start(), seen)
    assert seen.finished is not None
    assert seen.finished.state == event_pb2.RUN_STATE_SUCCEEDED
    assert seen.whole == seen.answers > len(seen.ends), seen.texts


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_clients_that_come_and_go_miss_nothing_and_hear_nothing_twice(house: House, seed: int) -> None:
    wire = await house.start()
    visitors = [Seen(question(number, SLOW, FAST, FREE), said=f"seed {seed}") for number in range(8)]
    visits = await asyncio.gather(
        *(come_and_go(house, seen, random.Random(f"{seed}/{at}")) for at, seen in enumerate(visitors))
    )
    assert sum(visits) > 2 * len(visitors)
    for seen in visitors:
        assert seen.finished is not None
        assert seen.finished.state == event_pb2.RUN_STATE_SUCCEEDED, seen.said
        again = await whole(wire, seen.run_id, seen.said)
        assert (again.hashes, again.ends, again.finished) == (seen.hashes, seen.ends, seen.finished), seen.said


@pytest.mark.parametrize("seed", [1, 2])
async def test_clients_that_come_and_go_miss_nothing_when_the_server_is_killed_meanwhile(
    house: House, stub: str, seed: int
) -> None:
    draw = random.Random(seed)
    await house.start()
    visitors = [Seen(question(number, SLOW, FAST, FREE), said=f"seed {seed}") for number in range(12)]
    async with asyncio.TaskGroup() as group:
        for at, seen in enumerate(visitors):
            group.create_task(come_and_go(house, seen, random.Random(f"{seed}/{at}")))
        async with asyncio.timeout(PATIENCE):
            await draw.choice(visitors).spoken.wait()
        await asyncio.sleep(draw.uniform(0.0, 0.1))
        await house.kill()
        wire = await house.start()
    interrupted = 0
    for seen in visitors:
        again = await whole(wire, seen.run_id, seen.said)
        assert (again.hashes, again.ends, again.finished) == (seen.hashes, seen.ends, seen.finished), seen.said
        await check_record(wire, seen)
        interrupted += any(not end.text for end in seen.ends.values())
    assert interrupted, f"seed {seed}: the kill came too late to cut anything"
    runs = {seen.request.request_id: seen.run_id for seen in visitors}
    bill.compare(await bill.charges(stub), await bill.entries(wire), runs, f"seed {seed}")


async def test_fifty_at_once_with_one_request_id_are_one_run_and_pay_once(house: House, stub: str) -> None:
    wire = await house.start()
    request = question(1, SLOW, FAST, FAST)
    callers = [Seen(request) for _ in range(50)]
    await asyncio.gather(*(run_once(wire, seen) for seen in callers))
    first = callers[0]
    assert all((seen.run_id, seen.hashes) == (first.run_id, first.hashes) for seen in callers)
    charges, entries = await bill.charges(stub), await bill.entries(wire)
    assert len(charges) == 3 + first.drafts
    assert len(entries) == len(charges)
    bill.compare(charges, entries, {bill.mark(1): first.run_id})
