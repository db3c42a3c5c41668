import asyncio
import random
from collections import Counter

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.e2e import bill
from tests.e2e.record import Seen, run_once, watch_once
from tests.e2e.serving import House, Wire
from tests.e2e.till import PERIODS, Till

from whet.v1 import error_reason_pb2, event_pb2, fanout_pb2, ledger_pb2, value_pb2

CLIENTS = 16
ROUND_LIMIT = 12_000_000
"""Nanos for each round of all clients: far less than what is asked for."""
RUN_LIMIT = 700_000
"""Nanos: some branches of a run, and not all."""
PLAIN = "stub/plain"
NUMBERS = {"cap", "limit_nanos", "reserved_nanos", "requested_nanos"}


def asked(draw: random.Random, number: int) -> fanout_pb2.RunFanoutRequest:
    """A fan-out of calls that mostly fail, with retries and failovers, in a bounded time."""
    spec = fanout_pb2.FanoutSpec(
        prompt=f"{bill.mark(number)}: what is a monad?",
        branches=[
            fanout_pb2.Branch(model="stub/mixed", failover=["flaky/mixed", PLAIN], samples=draw.randint(1, 3))
            for _ in range(draw.randint(1, 4))
        ],
        parameters=value_pb2.Parameters(max_tokens=40),
        synthesis=fanout_pb2.Synthesis(model="stub/mixed"),
        limits=value_pb2.CallLimits(first_token=_ms(400), idle=_ms(400), total=_ms(1_500)),
    )
    if draw.random() < 0.3:
        spec.finish.deadline.CopyFrom(_ms(draw.randint(5, 300)))
    if draw.random() < 0.4:
        spec.cap.nanos = RUN_LIMIT
    return fanout_pb2.RunFanoutRequest(request_id=bill.mark(number), spec=spec)


def _ms(milliseconds: int) -> Duration:
    return Duration(seconds=milliseconds // 1_000, nanos=milliseconds % 1_000 * 1_000_000)


async def client(wire: Wire, draw: random.Random, seen: Seen) -> None:
    """Run a fan-out; perhaps leave, perhaps cancel it or one of its branches; hear of its end in any case."""
    try:
        async with asyncio.timeout(draw.choice((None, draw.uniform(0.0, 0.5)))):
            await run_once(wire, seen)
    except TimeoutError:
        if not seen.run_id:
            await run_once(wire, seen)
            return
        request = fanout_pb2.CancelFanoutRequest(run_id=seen.run_id, branch_ids=["b1"] if draw.random() < 0.5 else [])
        await wire.ask(wire.fanouts.CancelFanout, request)
        await watch_once(wire, seen)


async def crowd(house: House, stub: str, *, rounds: int, seed: int) -> None:
    wire = await house.start()
    till = Till(house, f"seed {seed}", step=rounds * ROUND_LIMIT)
    await till.raise_limit()
    visitors: list[Seen] = []
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(till.watch())
        for number in range(rounds):
            draws = [random.Random(f"{seed}/{number}/{each}") for each in range(CLIENTS)]
            seen = [
                Seen(asked(draw, len(visitors) + at), said=f"seed {seed}") for at, draw in enumerate(draws, start=1)
            ]
            visitors += seen
            await asyncio.gather(*map(client, [wire] * CLIENTS, draws, seen))
        watching.cancel()
    await the_caps_held(wire, stub, visitors, till)


async def the_caps_held(wire: Wire, stub: str, visitors: list[Seen], till: Till) -> None:
    charges, entries = await bill.charges(stub), await bill.entries(wire)
    runs = {seen.request.request_id: seen.run_id for seen in visitors}
    bill.compare(charges, entries, runs, till.said)
    sums = bill.sums(entries)
    assert sums.reserved == 0, till.said
    assert sum(owed.nanos for owed in charges) <= sums.counted <= till.limit, till.said
    paid: Counter[str] = Counter()
    for owed in charges:
        paid[owed.question] += owed.nanos
    refused: Counter[str] = Counter()
    for seen in visitors:
        if seen.request.spec.HasField("cap"):
            assert paid[seen.request.request_id] <= RUN_LIMIT, (till.said, seen.run_id)
        for end in seen.ends.values():
            if end.failure.reason == error_reason_pb2.ERROR_REASON_CAP_EXCEEDED:
                refused[cap_that_refused(end.failure, till.limit)] += 1
    assert refused["run"], (till.said, refused)
    assert refused["day"], (till.said, refused)


def cap_that_refused(failure: value_pb2.Failure, limit: int) -> str:
    """Return which cap refused; its numbers must say why."""
    told = failure.metadata
    assert set(told) == NUMBERS, failure
    assert failure.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], failure
    assert int(told["limit_nanos"]) == (RUN_LIMIT if told["cap"] == "run" else limit), failure
    assert int(told["reserved_nanos"]) + int(told["requested_nanos"]) > int(told["limit_nanos"]), failure
    return told["cap"]


async def test_a_crowd_with_retries_failovers_and_cancels_never_crosses_a_cap(house: House, stub: str) -> None:
    await crowd(house, stub, rounds=2, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3, 4])
async def test_larger_crowds_never_cross_a_cap(house: House, stub: str, seed: int) -> None:
    await crowd(house, stub, rounds=12, seed=seed)


async def test_a_cap_that_is_used_up_refuses_what_clients_reserve_themselves_and_names_the_numbers(
    house: House,
) -> None:
    wire = await house.start()
    for period in PERIODS:
        request = ledger_pb2.PutCapRequest(period=period, limit=value_pb2.Money(nanos=1_000))
        await wire.ask(wire.ledger.PutCap, request)
    ask = ledger_pb2.ReserveRequest(request_id="r1", model=PLAIN, max_input_tokens=1)
    await wire.ask(wire.ledger.Reserve, ask)
    ask.request_id = "r2"
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await wire.ask(wire.ledger.Reserve, ask)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "$0.000001" in str(refusal.value.details())


async def test_a_model_without_a_price_is_refused_only_where_a_cap_applies(house: House, stub: str) -> None:
    wire = await house.start()
    spec = fanout_pb2.FanoutSpec(prompt=f"{bill.mark(1)}: what is a monad?", models=["stub/unpriced"])

    async def outcome(request_id: str) -> event_pb2.BranchFinished:
        seen = Seen(fanout_pb2.RunFanoutRequest(request_id=request_id, spec=spec))
        await run_once(wire, seen)
        return seen.ends["b1"]

    for period in PERIODS:
        await wire.ask(
            wire.ledger.PutCap, ledger_pb2.PutCapRequest(period=period, limit=value_pb2.Money(nanos=ROUND_LIMIT))
        )
    refused = await outcome("capped")
    assert refused.failure.reason == error_reason_pb2.ERROR_REASON_PRICE_UNKNOWN
    assert refused.failure.metadata["model"] == "stub/unpriced"
    for cap_id in ("day", "month"):
        await wire.ask(wire.ledger.DeleteCap, ledger_pb2.DeleteCapRequest(cap_id=cap_id))
    spec.cap.nanos = ROUND_LIMIT
    assert (await outcome("run-cap")).failure.reason == error_reason_pb2.ERROR_REASON_PRICE_UNKNOWN
    assert await bill.charges(stub) == []
    spec.ClearField("cap")
    # The stub answers a name that it does not know in the plain way.
    assert (await outcome("free")).state == event_pb2.BRANCH_STATE_DONE
    (entry,) = await bill.entries(wire)
    assert entry.billing == value_pb2.BILLING_SETTLED
    assert entry.usage.output_tokens
