import asyncio
from itertools import count

import pytest

from whet.v1 import fanout_pb2, value_pb2
from whet_server.errors import RequestIdReused
from whet_server.rpc.requests import Requests, payload_digest
from whet_server.store.memory import MemoryStore
from whet_server.values import Workspace

MINE, YOURS = Workspace("mine"), Workspace("yours")
METHOD = "whet.v1.FanoutService/RunFanout"


def asked(prompt: str, request_id: str = "r1") -> fanout_pb2.RunFanoutRequest:
    return fanout_pb2.RunFanoutRequest(request_id=request_id, spec=fanout_pb2.FanoutSpec(prompt=prompt))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def requests(store: MemoryStore) -> Requests:
    return Requests(store, clock=lambda: 1_700_000_000_000_000_000)


async def effect(requests: Requests, store: MemoryStore, runs: "count[int]", prompt: str = "a") -> str:
    async with requests.turn(MINE, METHOD, "r1", asked(prompt)) as turn:
        if turn.answer is not None:
            return turn.answer
        answer = f"run{next(runs)}"
        await asyncio.sleep(0)
        await store.commit(*turn.record(answer))
        return answer


async def test_fifty_calls_at_once_with_one_id_have_one_effect(requests: Requests, store: MemoryStore) -> None:
    runs = count(1)
    answers = await asyncio.gather(*(effect(requests, store, runs) for _ in range(50)))
    assert set(answers) == {"run1"}
    assert next(runs) == 2
    assert not requests._locks


async def test_another_payload_is_refused_and_told_about_the_first_call(requests: Requests, store: MemoryStore) -> None:
    await effect(requests, store, count(1))
    with pytest.raises(RequestIdReused) as caught:
        await effect(requests, store, count(1), prompt="b")
    assert caught.value.metadata == {"request_id": "r1", "method": METHOD, "first_call": "2023-11-14T22:13:20Z"}


async def test_the_same_payload_to_another_method_is_refused(requests: Requests, store: MemoryStore) -> None:
    await effect(requests, store, count(1))
    with pytest.raises(RequestIdReused):
        async with requests.turn(MINE, "whet.v1.FanoutService/StartFanout", "r1", asked("a")):
            pass


async def test_workspaces_do_not_share_request_ids(requests: Requests, store: MemoryStore) -> None:
    await effect(requests, store, count(1))
    async with requests.turn(YOURS, METHOD, "r1", asked("b")) as turn:
        assert turn.answer is None


async def test_a_call_whose_effect_failed_leaves_the_id_free(requests: Requests, store: MemoryStore) -> None:
    with pytest.raises(OSError, match="full"):
        async with requests.turn(MINE, METHOD, "r1", asked("a")):
            raise OSError("full")
    assert await effect(requests, store, count(7)) == "run7"


async def test_a_call_without_an_id_is_always_new_and_leaves_no_record(requests: Requests) -> None:
    async with requests.turn(MINE, METHOD, "", asked("a", "")) as first:
        assert first.record("run1") == ()
    async with requests.turn(MINE, METHOD, "", asked("a", "")) as second:
        assert second.answer is None
    assert first.request_id != second.request_id


def test_the_digest_leaves_out_the_request_id_and_nothing_else() -> None:
    assert payload_digest(METHOD, asked("a", "r1")) == payload_digest(METHOD, asked("a", "r2"))
    capped = asked("a")
    capped.spec.cap.CopyFrom(value_pb2.Money(nanos=1))
    assert payload_digest(METHOD, asked("a")) != payload_digest(METHOD, capped)


async def test_an_effect_goes_on_when_its_caller_leaves(requests: Requests, store: MemoryStore) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        async with requests.turn(MINE, METHOD, "r1", asked("a")) as turn:
            begun.set()
            await go_on.wait()
            await store.commit(*turn.record("run1"))
            return "run1"

    caller = asyncio.ensure_future(requests.whole(slow()))
    async with asyncio.timeout(10):
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go_on.set()
        assert await effect(requests, store, count(7)) == "run1"
        await requests.idle(10)
    assert not requests._under_way


async def test_an_effect_that_is_refused_says_so_to_its_caller(requests: Requests) -> None:
    async def refused() -> None:
        raise RequestIdReused("No.")

    with pytest.raises(RequestIdReused):
        await requests.whole(refused())
