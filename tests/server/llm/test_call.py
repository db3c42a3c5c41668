import asyncio
import itertools
from collections.abc import Sequence

import pytest
from tests.server.llm.house import HOME, PRICE, RUN, Clock, Diary, House, open_house, spec

from whet_server.errors import EndpointNotFound, ModelNotFound, Reason
from whet_server.ledger.prices import Price
from whet_server.llm.base import (
    Answer,
    EndpointSettings,
    ModelSettings,
    ProviderFault,
    RateLimits,
    Request,
    Sink,
    answer_ns,
)
from whet_server.llm.breaker import FAULTS_TO_OPEN, OPEN_SECONDS, TROUBLE_SECONDS, CircuitState
from whet_server.llm.local import settings
from whet_server.llm.retry import RESERVE
from whet_server.llm.taxonomy import failure
from whet_server.log.lifecycle import NEXT, BranchState
from whet_server.values import Attempt, Billing, CallLimits, ModelName, Nanos, Usage

PATIENT = CallLimits(connect=5.0, first_token=10.0, idle=10.0, total=20.0)


def _reason(house_failure: object) -> str:
    return getattr(house_failure, "reason", "")


async def test_an_answer_comes_with_its_cost_and_its_record() -> None:
    async with open_house() as house:
        diary = Diary()
        result = await house.call(spec("plain"), diary)
        charge = house.stub.bill.charges[0]
    assert result.state is BranchState.DONE
    assert result.text == diary.heard == "word0 word1 word2 word3 "
    assert result.finish_reason == "stop"
    assert result.usage == Usage(input_tokens=charge.input_tokens, output_tokens=charge.output_tokens)
    assert result.totals.settled == charge.input_tokens + charge.output_tokens * 3
    (attempt,) = result.attempts
    assert attempt.billing is Billing.SETTLED
    assert attempt.provider_request_id == "stub-request"
    assert 0 < (attempt.first_token_ns or 0) <= attempt.latency_ns <= result.latency_ns
    assert diary.states == [BranchState.ASKED, BranchState.STREAMING]


async def test_the_limit_of_the_answer_is_always_sent() -> None:
    async with open_house() as house:
        await house.call(spec("plain", max_tokens=None))
        assert house.stub.bill.charges[0].max_tokens == 100


async def test_a_fault_that_passes_is_tried_again_and_told() -> None:
    async with open_house() as house:
        diary = Diary()
        result = await house.call(spec("server-error"), diary)
    assert [attempt.number for attempt in result.attempts] == [1, 2, 3]
    assert [attempt.wait_ns for attempt in result.attempts] == [0, 0, None]
    assert diary.failed == list(result.attempts[:2])
    assert diary.states == [BranchState.ASKED, BranchState.WAITING] * 2 + [BranchState.ASKED]
    assert "retry 1 of 2" in diary.details[1]


async def test_the_states_a_listener_hears_follow_the_law() -> None:
    async with open_house() as house:
        for models in (("plain",), ("server-error", "plain"), ("reset-mid-stream",), ("unauthorised", "half-stream")):
            diary = Diary()
            result = await house.call(spec(*models), diary)
            path = [BranchState.WAITING, *diary.states, result.state]
            for before, after in itertools.pairwise(path):
                assert after is before or after in NEXT[before]


async def test_the_next_model_answers_when_one_fails_for_good() -> None:
    async with open_house() as house:
        diary = Diary()
        result = await house.call(spec("unauthorised", "no-credit", "plain"), diary)
    assert result.state is BranchState.DONE
    assert result.model == "stub/plain"
    assert result.failure is None
    assert [_reason(a.failure) for a in result.attempts] == [Reason.KEY_REFUSED, Reason.QUOTA_EXHAUSTED, ""]
    assert diary.failed == list(result.attempts[:2])


async def test_a_model_nobody_knows_is_passed_over() -> None:
    async with open_house() as house:
        result = await house.call(spec("nowhere/x", "sim/no-such", "plain"))
        lost = await house.call(spec("nowhere/x"))
    assert result.state is BranchState.DONE
    assert lost.state is BranchState.FAILED
    assert _reason(lost.failure) == Reason.ENDPOINT_NOT_FOUND
    assert lost.attempts == ()


async def test_half_a_stream_is_never_continued_by_another_model() -> None:
    async with open_house() as house:
        result = await house.call(spec("reset-mid-stream", "plain"))
        assert house.stub.requests == 1
    assert result.state is BranchState.PARTIAL
    assert result.text == "word0 word1 "
    assert result.totals.unknown > 0


async def test_a_cap_ends_the_call_without_asking_anybody() -> None:
    async with open_house() as house:
        result = await house.call(spec("plain", "plain?chunks=20", run_cap=10))
        assert house.stub.requests == 0
    assert result.state is BranchState.FAILED
    assert _reason(result.failure) == Reason.CAP_EXCEEDED
    assert result.attempts == ()


async def test_retries_cannot_go_round_a_cap() -> None:
    async with open_house() as house:
        worst = len("what is a monad") + 16 + 10 * 3
        result = await house.call(spec("server-error", run_cap=2 * worst + 1))
        assert house.ledger.run_totals(RUN).unknown == 2 * worst
    assert _reason(result.failure) == Reason.CAP_EXCEEDED
    assert len(result.attempts) == 2


async def test_what_was_sent_to_a_model_without_a_price_is_counted_as_such() -> None:
    async with open_house(price=None) as house:
        asked = await house.call(spec("plain"))
    async with open_house() as house:
        priced = await house.call(spec("plain"))
    assert (asked.totals.settled, asked.totals.unpriced) == (0, 1)
    assert priced.totals.unpriced == 0


async def test_a_model_without_a_price_is_refused_under_a_cap_and_the_next_is_asked() -> None:
    async with open_house(price=None) as house:
        await house.endpoints.put(
            HOME,
            EndpointSettings(name="dear", base_url=house.stub.url, models=(ModelSettings(model="plain", price=PRICE),)),
            None,
        )
        refused = await house.call(spec("plain", run_cap=1_000_000))
        result = await house.call(spec("plain", "dear/plain", run_cap=1_000_000))
        free = await house.call(spec("plain"))
    assert _reason(refused.failure) == Reason.PRICE_UNKNOWN
    assert result.model == "dear/plain"
    assert free.state is BranchState.DONE
    assert free.attempts[0].billing is Billing.SETTLED


async def test_usage_that_was_not_reported_is_unknown_where_it_costs_and_estimated_where_not() -> None:
    async with open_house() as house:
        priced = await house.call(spec("no-usage"))
    async with open_house(price=Price(input=0, output=0)) as house:
        free = await house.call(spec("no-usage"))
        cut = await house.call(spec("half-stream"))
    assert priced.state is BranchState.DONE
    assert priced.attempts[0].billing is Billing.UNKNOWN
    assert priced.totals.unknown == priced.attempts[0].cost > 0
    assert priced.usage.estimated
    assert free.attempts[0].billing is Billing.SETTLED
    assert free.usage == Usage(input_tokens=3, output_tokens=6, estimated=True)
    assert cut.attempts[0].billing is Billing.NONE


async def test_the_reservation_bounds_every_honest_bill() -> None:
    async with open_house() as house:
        await house.call(spec("half-stream", prompt="grüße ✓ " * 50))
        charge = house.stub.bill.charges[0]
        (entry,) = await house.store.reservations(HOME)
    assert entry.reserved >= charge.input_tokens + charge.output_tokens * 3
    assert entry.reserved == len(("grüße ✓ " * 50).encode()) + 16 + 10 * 3


async def test_a_wait_longer_than_the_call_lasts_ends_it_at_once() -> None:
    async with open_house() as house, asyncio.timeout(5):
        result = await house.call(spec("rate-limited-49-days", limits=PATIENT))
    assert _reason(result.failure) == Reason.RATE_LIMITED
    assert result.failure is not None
    assert result.failure.retry_after_ns == 49 * 86_400 * 10**9
    assert len(result.attempts) == 1


async def test_the_total_limit_and_the_callers_deadline_are_told_apart() -> None:
    limits = CallLimits(connect=5.0, first_token=5.0, idle=5.0, total=0.2)
    async with open_house() as house:
        total = await house.call(spec("hang-after-headers", limits=limits))
        soon = asyncio.get_running_loop().time() + 0.2
        deadline = await house.call(spec("hang-after-headers", limits=PATIENT, deadline=soon))
        past = await house.call(spec("plain", deadline=soon))
        assert house.stub.requests == 2
    assert _reason(total.failure) == Reason.TOTAL_TIMEOUT
    assert _reason(deadline.failure) == Reason.DEADLINE_EXCEEDED
    assert _reason(past.failure) == Reason.DEADLINE_EXCEEDED


async def test_a_429_lowers_the_calls_at_once() -> None:
    async with open_house(limits=RateLimits(max_concurrency=100)) as house:
        await house.call(spec("rate-limited"))
        status = house.endpoints.get(HOME, "stub")
    assert status.current_concurrency == 70
    assert status.in_flight == 0
    assert _reason(status.last_failure) == Reason.RATE_LIMITED


async def test_no_more_calls_are_open_than_allowed() -> None:
    async with open_house(limits=RateLimits(max_concurrency=3)) as house:
        most = 0

        class Counting(Diary):
            def text(self, piece: str) -> None:
                nonlocal most
                most = max(most, house.stub.open)

        await asyncio.gather(
            *(house.call(spec("plain?chunks=8&gap_ms=20", limits=PATIENT), Counting()) for _ in range(12))
        )
        assert house.endpoints.get(HOME, "stub").in_flight == 0
    assert most == 3


async def test_our_own_limit_a_minute_is_waited_for_or_refused_when_that_takes_too_long() -> None:
    async with open_house(limits=RateLimits(requests_per_minute=2)) as house:
        done = [await house.call(spec("plain")) for _ in range(2)]
        refused = await house.call(spec("plain"))
        waiting, stop = Diary(), asyncio.Event()
        slow = asyncio.create_task(house.call(spec("plain", limits=CallLimits(total=120.0)), waiting, stop))
        async with asyncio.timeout(5):
            await waiting.waits.wait()
        stop.set()
        cut = await slow
        assert house.stub.requests == 2
    assert {result.state for result in done} == {BranchState.DONE}
    assert _reason(refused.failure) == Reason.RATE_LIMITED
    assert refused.failure is not None
    assert 25e9 < (refused.failure.retry_after_ns or 0) <= 30e9
    assert cut.state is BranchState.CANCELLED


class Slow:
    """A transport that never has a first token in time."""

    async def send(self, request: Request, sink: Sink) -> Answer:
        raise ProviderFault(failure(Reason.FIRST_TOKEN_TIMEOUT, "No token came in time."), billed=False)

    async def models(self, request: Request) -> Sequence[str]:
        return [settings.MODEL]


async def test_a_local_model_that_is_slow_is_asked_again_because_nothing_is_won_by_leaving_it_alone() -> None:
    clock = Clock()
    async with open_house(clock=clock, more=[(settings.ENDPOINT, None)], local=Slow()) as house:
        for _ in range(2 * FAULTS_TO_OPEN):
            slow = await house.call(spec(f"local/{settings.MODEL}"))
            clock.now += TROUBLE_SECONDS
        circuit = house.endpoints.get(HOME, "local").circuit
    assert slow.failure is not None
    assert Reason.FIRST_TOKEN_TIMEOUT in {slow.failure.reason, slow.failure.metadata.get("cause")}
    assert circuit is CircuitState.CLOSED


async def test_an_endpoint_that_keeps_failing_is_left_alone_then_probed_then_used_again() -> None:
    clock = Clock()
    async with open_house(clock=clock) as house:
        await house.call(spec("server-error"))
        clock.now += TROUBLE_SECONDS
        await house.call(spec("server-error"))
        asked = house.stub.requests
        refused = await house.call(spec("plain"))
        assert house.stub.requests == asked == FAULTS_TO_OPEN
        assert house.endpoints.get(HOME, "stub").circuit is CircuitState.OPEN
        clock.now += OPEN_SECONDS
        answered = await house.call(spec("plain"))
        healthy = house.endpoints.get(HOME, "stub")
    assert _reason(refused.failure) == Reason.CIRCUIT_OPEN
    assert refused.failure is not None
    assert refused.failure.transient
    assert refused.failure.retry_after_ns == OPEN_SECONDS * 10**9
    assert answered.state is BranchState.DONE
    assert healthy.circuit is CircuitState.CLOSED
    assert healthy.last_failure is None
    assert healthy.last_success_ns is not None


async def test_refused_requests_do_not_open_the_circuit() -> None:
    async with open_house() as house:
        for _ in range(3 * FAULTS_TO_OPEN):
            await house.call(spec("bad-request"))
        assert house.endpoints.get(HOME, "stub").circuit is CircuitState.CLOSED


async def test_retries_stop_when_the_endpoints_budget_is_used_up() -> None:
    async with open_house(clock=Clock()) as house:
        results = [await house.call(spec("rate-limited-zero")) for _ in range(20)]
        requests = house.stub.requests
    assert 20 + RESERVE <= requests <= 20 * 1.1 + RESERVE + 1
    last = results[-1].failure
    assert _reason(last) == Reason.RETRY_BUDGET_EXHAUSTED
    assert last is not None
    assert last.metadata["cause"] == Reason.RATE_LIMITED


async def test_the_time_of_an_answer_leaves_out_what_it_waited_for_a_place() -> None:
    slow = "plain?chunks=8&gap_ms=20"
    async with open_house(limits=RateLimits(max_concurrency=1)) as house:
        calls = [spec(slow, prompt=f"case {at}", call=f"b{at}", bypass=False) for at in range(4)]
        made = await asyncio.gather(*(house.call(call) for call in calls))
        again = [await house.call(call) for call in calls]
    waited = max(made, key=lambda each: each.latency_ns)
    assert waited.answer_ns < waited.latency_ns / 2
    assert all(each.answer_ns == each.attempts[0].latency_ns for each in made)
    assert [each.made_ns for each in again] == [each.answer_ns for each in made]


def test_the_time_of_an_answer_has_the_waits_after_failures_but_not_those_for_a_rate_limit() -> None:
    def attempt(number: int, reason: Reason | None = None, wait_ns: int | None = None) -> Attempt:
        told = failure(reason, "so it was") if reason else None
        return Attempt(number=number, model=ModelName("m/m"), start_ns=0, latency_ns=100, failure=told, wait_ns=wait_ns)

    last = attempt(3)
    assert answer_ns([last]) == 100
    assert answer_ns([attempt(1, Reason.PROVIDER_ERROR, 7), attempt(2, Reason.RATE_LIMITED, 5_000), last]) == 307


async def test_an_answer_is_found_again_and_costs_nothing() -> None:
    async with open_house() as house:
        first = await house.call(spec("plain", bypass=False))
        diary = Diary()
        again = await house.call(spec("plain", bypass=False), diary)
        estimate = await house.caller.estimate(spec("plain", bypass=False))
        assert house.stub.requests == 1
    assert again.state is BranchState.DONE
    assert again.cached
    assert again.text == first.text
    assert again.attempts == ()
    assert again.totals.cache_hits == 1
    assert again.totals.settled == 0
    assert again.made_cost == first.totals.settled
    assert again.made_ns is not None
    assert first.latency_ns / 2 < again.made_ns <= first.latency_ns
    assert (first.made_ns, first.made_cost) == (None, None)
    assert diary.states == []
    assert estimate.cached
    assert estimate.expected == 0


async def test_samples_do_not_share_an_answer() -> None:
    async with open_house() as house:
        for _ in range(2):
            for sample in (1, 2, 3):
                await house.call(spec("plain", bypass=False, sample=sample))
        assert house.stub.requests == 3


@pytest.mark.parametrize("model", ["half-stream", "bad-request", "filtered-midway"])
async def test_only_whole_answers_are_kept(model: str) -> None:
    async with open_house() as house:
        for _ in range(2):
            await house.call(spec(model, bypass=False))
        assert house.stub.requests == 2
        assert (await house.cache.stats(HOME)).entries == 0


async def test_a_call_stopped_before_it_began_does_nothing() -> None:
    async with open_house() as house:
        stop = asyncio.Event()
        stop.set()
        result = await house.call(spec("plain"), stop=stop)
        assert house.stub.requests == 0
    assert result.state is BranchState.CANCELLED


async def test_stop_closes_the_socket_and_the_money_is_unknown() -> None:
    async with open_house() as house:
        stop, diary = asyncio.Event(), Diary()
        calling = asyncio.create_task(house.call(spec("hang-mid-stream", limits=PATIENT), diary, stop))
        async with asyncio.timeout(5):
            await diary.spoke.wait()
            stop.set()
            result = await calling
            await house.stub.quiet()
    assert result.state is BranchState.PARTIAL
    assert _reason(result.failure) == Reason.CANCELLED
    assert result.attempts[0].billing is Billing.UNKNOWN
    assert result.text == diary.heard != ""


async def test_a_simulated_answer_is_marked() -> None:
    async with open_house() as house:
        result = await house.call(spec("sim/fast", limits=PATIENT))
        info = await house.caller.resolve(HOME, spec("sim/fast").models[0])
    assert result.state is BranchState.DONE
    assert result.simulated
    assert info.simulated


async def test_an_estimate_bounds_the_call() -> None:
    async with open_house() as house:
        estimate = await house.caller.estimate(spec("plain"))
        result = await house.call(spec("plain"))
        unpriced = await house.caller.estimate(spec("stub/some-other-model"))
    assert estimate.worst is not None
    assert estimate.expected is not None
    assert Nanos(0) < estimate.expected <= estimate.worst
    assert result.totals.settled <= estimate.worst
    assert (unpriced.worst, unpriced.expected) == (None, None)


async def test_resolving_says_what_is_wrong_with_a_name() -> None:
    async with open_house() as house:
        for name, error in (("plain", ModelNotFound), ("x/y", EndpointNotFound), ("stub/", ModelNotFound)):
            with pytest.raises(error):
                await house.caller.resolve(HOME, ModelName(name))


async def test_a_hundred_calls_at_once_leave_nothing_behind() -> None:
    async with open_house() as house:
        results = await asyncio.gather(*(house.call(spec("plain", call=f"b{n}", limits=PATIENT)) for n in range(100)))
        await _nothing_left(house)
    assert {result.state for result in results} == {BranchState.DONE}


async def _nothing_left(house: House) -> None:
    async with asyncio.timeout(5):
        await house.stub.quiet()
    assert await house.store.reservations(HOME, billing=Billing.RESERVED, limit=500) == []
    assert house.endpoints.get(HOME, "stub").in_flight == 0
