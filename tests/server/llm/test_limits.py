import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.llm.house import Clock

from whet_server.llm.base import RateLimits
from whet_server.llm.breaker import (
    FAULTS_TO_OPEN,
    MAX_OPEN_SECONDS,
    OPEN_SECONDS,
    TROUBLE_SECONDS,
    Breaker,
    CircuitState,
)
from whet_server.llm.endpoint import Gate
from whet_server.llm.limits import DECREASE_WINDOW, DEFAULT_CONCURRENCY, Bucket, Slots
from whet_server.llm.retry import MOST_SAVED, RESERVE, RESERVE_SECONDS, RETRY_SHARE, RetryBudget, backoff
from whet_server.llm.turn import Turn


async def test_as_many_calls_as_allowed_go_at_once_and_no_more() -> None:
    slots = Slots(2, Clock())
    assert [slots.take() for _ in range(3)] == [True, True, False]
    slots.give_back()
    assert slots.take()


def test_nobody_saying_otherwise_means_the_promised_default() -> None:
    assert Slots(0, Clock()).allowed == DEFAULT_CONCURRENCY == 256


async def test_those_who_wait_are_served_in_the_order_of_coming() -> None:
    slots = Slots(1, Clock())
    served: list[int] = []

    async def one(number: int) -> None:
        await slots.wait()
        served.append(number)
        slots.give_back()

    await slots.wait()
    waiting = [asyncio.create_task(one(number)) for number in range(10)]
    await asyncio.sleep(0)
    assert not slots.take()
    slots.give_back()
    await asyncio.gather(*waiting)
    assert served == list(range(10))
    assert slots.in_flight == 0


@pytest.mark.parametrize("seed", range(20))
async def test_cancelled_waiters_lose_no_place(seed: int) -> None:
    draw = random.Random(seed)
    slots = Slots(3, Clock())

    async def one() -> None:
        await slots.wait()
        try:
            await asyncio.sleep(0)
        finally:
            slots.give_back()

    tasks = [asyncio.create_task(one()) for _ in range(40)]
    for _ in range(12):
        await asyncio.sleep(0)
        draw.choice(tasks).cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)
    assert slots.in_flight == 0
    assert [slots.take() for _ in range(4)] == [True, True, True, False]


async def test_a_waiter_cancelled_just_before_a_place_is_free_is_merely_cancelled() -> None:
    slots = Slots(1, Clock())
    assert slots.take()
    waiting = asyncio.create_task(slots.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    slots.give_back()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.take()


def test_an_overload_takes_a_third_off_once_a_window() -> None:
    clock = Clock()
    slots = Slots(100, clock)
    for _ in range(50):
        slots.overloaded()
    assert slots.allowed == 70
    clock.now += DECREASE_WINDOW
    slots.overloaded()
    assert slots.allowed == 49


def test_one_call_at_a_time_is_always_allowed() -> None:
    clock = Clock()
    slots = Slots(4, clock)
    for _ in range(20):
        clock.now += DECREASE_WINDOW
        slots.overloaded()
    assert slots.allowed == 1
    assert slots.take()


def test_successes_bring_the_limit_back_one_by_one_up_to_the_most() -> None:
    slots = Slots(10, Clock())
    slots.overloaded()
    assert slots.allowed == 7
    for _ in range(7):
        slots.succeeded()
    assert slots.allowed == 8
    for _ in range(100):
        slots.succeeded()
    assert slots.allowed == 10


async def test_a_limit_that_grows_lets_those_who_wait_in() -> None:
    slots = Slots(1, Clock())
    await slots.wait()
    waiting = asyncio.create_task(slots.wait())
    await asyncio.sleep(0)
    slots.resize(2)
    async with asyncio.timeout(1):
        await waiting


def test_a_bucket_makes_those_wait_who_take_more_than_there_is() -> None:
    clock = Clock()
    bucket = Bucket(60, clock)
    assert [bucket.take(1) for _ in range(60)] == [0.0] * 60
    assert bucket.take(1) == pytest.approx(1.0)
    assert bucket.take(1) == pytest.approx(2.0)
    clock.now += 2
    assert bucket.take(1) == pytest.approx(1.0)


def test_what_is_given_back_can_be_taken_again() -> None:
    bucket = Bucket(10, Clock())
    bucket.take(10)
    bucket.give_back(4)
    assert bucket.take(4) == 0.0
    assert bucket.take(1) > 0


def test_a_call_larger_than_a_minutes_worth_goes_when_the_bucket_is_full() -> None:
    bucket = Bucket(100, Clock())
    assert bucket.take(5000) == 0.0
    assert bucket.take(1) == pytest.approx(0.6)


def test_no_limit_is_no_limit() -> None:
    bucket = Bucket(0, Clock())
    assert bucket.take(1e12) == 0.0


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 30)), max_size=60))
def test_a_bucket_never_lets_more_through_than_its_rate(steps: list[tuple[float, int]]) -> None:
    clock = Clock(now=0.0)
    bucket = Bucket(60, clock)
    gone: list[tuple[float, int]] = []
    for pause, amount in steps:
        clock.now += pause
        gone.append((clock.now + bucket.take(amount), amount))
    for moment, _ in gone:
        through = sum(amount for when, amount in gone if when <= moment)
        assert through <= 60 + moment * 1.0 + 1e-6


async def test_a_turn_that_is_left_gives_back_all_it_took() -> None:
    gates = [Gate(RateLimits(requests_per_minute=5, tokens_per_minute=100, max_concurrency=1), Clock()) for _ in "ab"]
    for _ in range(20):
        turn = Turn(gates, 50)
        assert turn.book() == 0.0
        assert turn.enter_now()
        turn.leave()
        turn.leave()
    assert [gate.slots.in_flight for gate in gates] == [0, 0]


async def test_a_turn_that_was_used_keeps_its_request_and_returns_unused_tokens() -> None:
    gate = Gate(RateLimits(requests_per_minute=1, tokens_per_minute=100), Clock())
    turn = Turn([gate], 80)
    assert turn.book() == 0.0
    turn.sent()
    turn.used(10)
    turn.leave()
    assert gate.tokens.take(90) == 0.0
    assert gate.requests.take(1) > 0


async def test_a_turn_cancelled_at_the_second_gate_frees_the_first() -> None:
    free, full = Gate(RateLimits(max_concurrency=1), Clock()), Gate(RateLimits(max_concurrency=1), Clock())
    assert full.slots.take()
    turn = Turn([free, full], 1)
    turn.book()
    entering = asyncio.create_task(turn.enter(lambda: None))
    await asyncio.sleep(0)
    entering.cancel()
    await asyncio.wait([entering])
    turn.leave()
    assert free.slots.in_flight == 0
    assert full.slots.in_flight == 1


def _opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAULTS_TO_OPEN):
        ticket = breaker.admit()
        assert ticket is not None
        breaker.failed(ticket)
        clock.now += TROUBLE_SECONDS / (FAULTS_TO_OPEN - 1)
    clock.now -= TROUBLE_SECONDS / (FAULTS_TO_OPEN - 1)
    return breaker


def test_a_circuit_opens_after_faults_in_a_row() -> None:
    breaker = _opened(Clock())
    assert breaker.state is CircuitState.OPEN
    assert breaker.admit() is None
    assert breaker.refusal() == OPEN_SECONDS


def test_a_blip_does_not_open_it_however_many_calls_meet_it() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(1000):
        breaker.failed(0)
        clock.now += 0.9 * TROUBLE_SECONDS / 1000
    assert breaker.state is CircuitState.CLOSED
    clock.now += 0.2 * TROUBLE_SECONDS
    breaker.failed(0)
    assert breaker.refusal() == OPEN_SECONDS


def test_a_success_in_between_keeps_it_closed() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(10 * FAULTS_TO_OPEN):
        for _ in range(FAULTS_TO_OPEN - 1):
            breaker.failed(0)
            clock.now += TROUBLE_SECONDS
        breaker.passed(0)
    assert breaker.state is CircuitState.CLOSED


def test_one_probe_is_let_through_and_its_success_closes_the_circuit() -> None:
    clock = Clock()
    breaker = _opened(clock)
    clock.now += OPEN_SECONDS
    assert breaker.state is CircuitState.HALF_OPEN
    probe = breaker.admit()
    assert probe is not None
    assert breaker.admit() is None
    breaker.passed(probe)
    assert breaker.refusal() is None
    assert [breaker.admit() is None for _ in range(3)] == [False] * 3


def test_a_failed_probe_opens_it_for_twice_as_long_up_to_a_limit() -> None:
    clock = Clock()
    breaker = _opened(clock)
    waits = []
    for _ in range(6):
        waits.append(breaker.refusal() or 0.0)
        clock.now += waits[-1]
        probe = breaker.admit()
        assert probe is not None
        breaker.failed(probe)
    assert waits == [15.0, 30.0, 60.0, MAX_OPEN_SECONDS, MAX_OPEN_SECONDS, MAX_OPEN_SECONDS]


def test_a_probe_that_is_given_up_makes_room_for_another() -> None:
    clock = Clock()
    breaker = _opened(clock)
    clock.now += OPEN_SECONDS
    probe = breaker.admit()
    assert probe is not None
    breaker.abandoned(probe)
    assert breaker.admit() is not None


def test_calls_from_before_the_circuit_opened_have_no_say() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    old = breaker.admit()
    assert old is not None
    for _ in range(FAULTS_TO_OPEN):
        breaker.failed(old)
        clock.now += TROUBLE_SECONDS
    breaker.passed(old)
    assert breaker.state is CircuitState.OPEN
    clock.now += OPEN_SECONDS
    assert breaker.admit() is not None
    breaker.abandoned(old)
    assert breaker.admit() is None


def test_a_quiet_endpoint_has_its_reserve_of_retries() -> None:
    budget = RetryBudget(Clock())
    assert [budget.spend() for _ in range(11)] == [True] * int(RESERVE) + [False]


def test_the_reserve_fills_up_with_time() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    while budget.spend():
        pass
    clock.now += RESERVE_SECONDS / RESERVE
    assert [budget.spend(), budget.spend()] == [True, False]


def test_a_failing_provider_is_asked_a_tenth_more_and_not_three_times_as_often() -> None:
    budget = RetryBudget(Clock())
    retries = 0
    for _ in range(1000):
        budget.called()
        while budget.spend():
            retries += 1
    assert retries == pytest.approx(1000 * RETRY_SHARE + RESERVE, abs=1)


def test_a_long_quiet_time_saves_up_only_so_much() -> None:
    budget = RetryBudget(Clock())
    for _ in range(100_000):
        budget.called()
    assert sum(budget.spend() for _ in range(1000)) == MOST_SAVED


@given(st.integers(1, 10), st.none() | st.floats(0, 100), st.integers())
def test_a_wait_is_never_shorter_than_the_provider_asks_and_jitters_above(
    attempt: int, asked: float | None, seed: int
) -> None:
    wait = backoff(attempt, asked, random.Random(seed))
    assert (asked or 0.0) <= wait <= (asked or 0.0) + 8.0
