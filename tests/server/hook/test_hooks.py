import asyncio
import hashlib
import hmac
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.server.hook.receiver import (
    BROKEN,
    GARBAGE,
    HANGS,
    OK,
    PATIENCE,
    SILENCE,
    endless,
    receiving,
    redirect,
)

from whet_server.errors import HookNotFound, InvalidField, StorageUnavailable
from whet_server.hook.hooks import Hooks
from whet_server.hook.spec import Delivery, DeliveryState
from whet_server.judging import Estimate
from whet_server.llm.keys import Sealer
from whet_server.log.events import DurablePayload, RunFinished, RunOpened, SweepConcluded, TrialStarted
from whet_server.log.log import EventLog
from whet_server.store.base import Write
from whet_server.store.memory import MemoryStore
from whet_server.sweeping import SweepEnd, SweepResult, SweepVerdict, written
from whet_server.values import Failure, Role, Run, RunId, RunKind, RunState, Workspace, new_id

HOME, THEIRS = Workspace("home"), Workspace("theirs")
SECRET = "a secret of many letters"
AT_ONCE = (0.0, 0.0)
SEALER = Sealer(bytes(32))
FOUND = SweepResult(
    verdict=SweepVerdict.BETTER,
    finding="Trial 2 is better.",
    end=SweepEnd.TRIALS,
    best=2,
    lift=Estimate(value=0.1, low=0.05, high=0.15),
)
SWEEP = (
    TrialStarted(number=0, parameters=written({"model": "large", "temperature": 1.0})),
    TrialStarted(number=2, parameters=written({"model": "small", "temperature": 0.2, "examples": 3})),
    SweepConcluded(result=FOUND),
)


class StubbornStore(MemoryStore):
    """A store that refuses writes while `full`."""

    full = False

    async def commit(self, *writes: Write) -> None:
        if self.full:
            raise StorageUnavailable("the disk is full")
        await super().commit(*writes)


@dataclass(kw_only=True)
class House:
    """The room over a store; `again` is the next start after a kill."""

    store: StubbornStore = field(default_factory=StubbornStore)
    waits: Sequence[float] = AT_ONCE
    seconds: float = PATIENCE

    async def open(self) -> "House":
        self.log = EventLog(self.store, clock=lambda: 1_768_000_000_000_000_000)
        self.hooks = await Hooks.open(
            self.store,
            SEALER,
            self.log,
            clock=lambda: 1_768_000_000_000_000_000,
            waits=self.waits,
            seconds=self.seconds,
        )
        return self

    async def put(self, url: str, name: str = "ci", workspace: Workspace = HOME, *kinds: RunKind) -> None:
        await self.hooks.put(workspace, name, url, secret=SECRET, kinds=kinds)

    async def end(
        self,
        *events: DurablePayload,
        workspace: Workspace = HOME,
        kind: RunKind = RunKind.SWEEP,
        failure: Failure | None = None,
    ) -> RunId:
        """Have a run with these events end."""
        run_id = RunId(new_id("swp"))
        run = Run(
            run_id=run_id,
            workspace=workspace,
            kind=kind,
            title="small or large",
            state=RunState.RUNNING,
            role=Role.PERSON,
            create_ns=1_767_000_000_000_000_000,
        )
        writer = await self.log.open(run, RunOpened(run_id=run_id, kind=kind, title=run.title, role=Role.PERSON))
        if events:
            await writer.append(*events)
        await writer.finish(RunFinished(state=RunState.SUCCEEDED, failure=failure))
        return run_id

    async def attempted(self) -> None:
        """Wait until the newest delivery has had an attempt."""
        async with asyncio.timeout(PATIENCE):
            while not (await self.hooks.deliveries(HOME))[0].attempts:  # noqa: ASYNC110 -- it stands in a store
                await asyncio.sleep(0)

    async def settled(self, workspace: Workspace = HOME) -> Sequence[Delivery]:
        """Return the deliveries once none waits."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.hooks.deliveries(workspace)
                if all(each.state is not DeliveryState.WAITING for each in found):
                    return found
                await asyncio.sleep(0)


@asynccontextmanager
async def house(**how: float | Sequence[float]) -> AsyncGenerator[House, None]:
    made = await House(**how).open()  # type: ignore[arg-type]  # keyword by keyword
    try:
        yield made
    finally:
        await made.hooks.drain(0)


def errors(delivery: Delivery) -> list[str]:
    return [attempt.error for attempt in delivery.attempts]


async def test_the_end_of_a_sweep_arrives_signed_with_what_it_found() -> None:
    async with house() as home, receiving() as receiver:
        await home.put(receiver.url)
        run_id = await home.end(*SWEEP)
        (request,) = await receiver.wait_for(1)
        assert request.path == "/whet?from=tests"
        signed = request.headers["x-whet-timestamp"].encode() + b"." + request.body
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert request.headers["x-whet-signature"] == f"v1={expected}"
        assert request.headers["x-whet-timestamp"] == "1768000000"
        assert request.told == {
            "delivery_id": request.delivery_id,
            "hook": "ci",
            "event": "run.ended",
            "run_id": run_id,
            "kind": "sweep",
            "state": "succeeded",
            "title": "small or large",
            "create_time": "2025-12-29T09:20:00.000Z",
            "end_time": "2026-01-09T23:06:40.000Z",
            "settled_usd": 0.0,
            "sweep": {
                "verdict": "better",
                "finding": "Trial 2 is better.",
                "end": "trials",
                "simulated": False,
                "lift": {"mean": 0.1, "low": 0.05, "high": 0.15},
                "best": {"number": 2, "parameters": {"model": "small", "temperature": 0.2, "examples": 3}},
            },
        }
        (delivery,) = await home.settled()
        assert (delivery.delivery_id, delivery.state) == (request.delivery_id, DeliveryState.DELIVERED)
        assert [(attempt.status, attempt.error) for attempt in delivery.attempts] == [(204, "")]


async def test_a_receiver_that_fails_twice_gets_the_same_delivery_a_third_time() -> None:
    async with house() as home, receiving(BROKEN, SILENCE, OK) as receiver:
        await home.put(receiver.url)
        await home.end(*SWEEP)
        requests = await receiver.wait_for(3)
        (delivery,) = await home.settled()
        assert {request.delivery_id for request in requests} == {delivery.delivery_id}
        assert len({request.body for request in requests}) == 1
        assert all(request.is_signed_with(SECRET) for request in requests)
        assert delivery.state is DeliveryState.DELIVERED
        assert errors(delivery) == ["The address answered 500.", "The connection broke before an answer came.", ""]


async def test_after_three_attempts_a_delivery_has_failed_and_says_why() -> None:
    async with house() as home, receiving(BROKEN, GARBAGE, BROKEN) as receiver:
        await home.put(receiver.url)
        await home.end(*SWEEP)
        (delivery,) = await home.settled()
        assert delivery.state is DeliveryState.FAILED
        assert errors(delivery)[1] == "What answers there does not speak HTTP."
        assert [attempt.status for attempt in delivery.attempts] == [500, 0, 500]
        assert len(receiver.received) == 3


async def test_a_redirect_is_not_followed() -> None:
    async with house() as home, receiving() as elsewhere:
        async with receiving(redirect(elsewhere.url)) as receiver:
            await home.put(receiver.url)
            delivery = await home.hooks.test(HOME, "ci")
        assert (delivery.state, delivery.attempts[0].status) == (DeliveryState.FAILED, 307)
        assert "redirects are not followed" in delivery.attempts[0].error
        assert elsewhere.received == []


async def test_a_receiver_that_hangs_is_left_when_the_time_is_over() -> None:
    async with house(seconds=0.05) as home, receiving(HANGS, HANGS, HANGS) as receiver:
        await home.put(receiver.url)
        await home.end(*SWEEP)
        (delivery,) = await home.settled()
        assert errors(delivery) == ["No answer came within 0.05 seconds."] * 3


async def test_an_answer_that_never_ends_is_not_read() -> None:
    async with house() as home, receiving(endless(10**12)) as receiver:
        await home.put(receiver.url)
        await home.end(*SWEEP)
        (delivery,) = await home.settled()
        assert (delivery.state, len(delivery.attempts)) == (DeliveryState.DELIVERED, 1)


async def test_nobody_listening_is_said_in_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with house() as home:
            await home.put(f"http://127.0.0.1:{taken.getsockname()[1]}/")
            delivery = await home.hooks.test(HOME, "ci")
    assert errors(delivery) == ["The address cannot be reached: Connection refused."]


async def test_a_delivery_that_a_kill_cut_off_is_made_after_the_next_start() -> None:
    async with receiving(BROKEN, HANGS) as receiver:
        async with house() as before:
            await before.put(receiver.url)
            await before.end(*SWEEP)
            await receiver.wait_for(2)
            store = before.store
        waiting = await before.hooks.deliveries(HOME)
        assert [(each.state, len(each.attempts)) for each in waiting] == [(DeliveryState.WAITING, 1)]
        after = await House(store=store).open()
        assert await after.hooks.recover() == 1
        assert await after.hooks.recover() == 0, "it is on its way"
        requests = await receiver.wait_for(3)
        (delivery,) = await after.settled()
        assert (delivery.state, len(delivery.attempts)) == (DeliveryState.DELIVERED, 2)
        assert {request.delivery_id for request in requests} == {delivery.delivery_id}
        assert await after.hooks.recover() == 0, "nothing waits any more"
        await after.hooks.drain(0)


async def test_the_end_of_a_run_and_its_delivery_are_durable_together() -> None:
    class Watched(StubbornStore):
        def __init__(self) -> None:
            super().__init__()
            self.together: list[bool] = []

        async def commit(self, *writes: Write) -> None:
            if any(isinstance(write, Run) and write.end_ns for write in writes):
                kinds = {getattr(write, "collection", "") for write in writes}
                self.together.append({"deliveries", "waiting_deliveries"} <= kinds)
            await super().commit(*writes)

    store = Watched()
    home = await House(store=store).open()
    async with receiving() as receiver:
        await home.put(receiver.url)
        await home.end(*SWEEP)
        await home.settled()
    await home.hooks.drain(0)
    assert store.together == [True]


async def test_only_the_kinds_that_were_asked_for_are_told_and_sweeps_when_nobody_says() -> None:
    async with house() as home, receiving() as receiver:
        await home.put(receiver.url, "sweeps")
        await home.put(receiver.url, "rest", HOME, RunKind.FANOUT, RunKind.JUDGEMENT)
        await home.end(kind=RunKind.FANOUT)
        await home.end(kind=RunKind.DATASET)
        await home.end(*SWEEP)
        told = [(request.told["hook"], request.told["kind"]) for request in await receiver.wait_for(2)]
        await home.settled()
        assert sorted(told) == [("rest", "fanout"), ("sweeps", "sweep")]
        assert len(receiver.received) == 2


async def test_a_run_that_failed_is_told_with_its_reason_and_without_a_sweep() -> None:
    async with house() as home, receiving() as receiver:
        await home.put(receiver.url)
        await home.end(failure=Failure(reason="INTERNAL", message="It broke."))
        (request,) = await receiver.wait_for(1)
        assert request.told["failure"] == {"reason": "INTERNAL", "message": "It broke."}
        assert "sweep" not in request.told


async def test_workspaces_see_and_hear_nothing_of_each_other() -> None:
    async with house() as home, receiving() as receiver:
        await home.put(receiver.url, "ci", THEIRS)
        await home.end(*SWEEP)
        await home.end(*SWEEP, workspace=THEIRS)
        await receiver.wait_for(1)
        assert len(await home.settled(THEIRS)) == 1
        assert (home.hooks.list(HOME), await home.settled(HOME)) == ([], [])
        with pytest.raises(HookNotFound):
            await home.hooks.delete(HOME, "ci")
        with pytest.raises(HookNotFound):
            await home.hooks.test(HOME, "ci")
        assert len(receiver.received) == 1


async def test_what_waits_for_a_webhook_that_is_deleted_is_given_up() -> None:
    async with house(waits=(600.0, 600.0)) as home, receiving(BROKEN) as receiver:
        await home.put(receiver.url)
        await home.end(*SWEEP)
        await home.attempted()
        await home.hooks.delete(HOME, "ci")
        (delivery,) = await home.hooks.deliveries(HOME)
        assert delivery.state is DeliveryState.FAILED
        assert errors(delivery) == ["The address answered 500.", "Given up: the webhook was removed."]
        again = await House(store=home.store).open()
        assert (again.hooks.list(HOME), await again.hooks.recover()) == ([], 0)
        assert len(receiver.received) == 1


async def test_a_deletion_that_could_not_be_written_leaves_the_webhook_and_what_waits() -> None:
    async with house(waits=(0.0, 600.0)) as home, receiving(BROKEN, BROKEN) as receiver:
        await home.put(receiver.url)
        await home.end(*SWEEP)
        await receiver.wait_for(2)
        home.store.full = True
        with pytest.raises(StorageUnavailable):
            await home.hooks.delete(HOME, "ci")
        home.store.full = False
        assert [hook.name for hook in home.hooks.list(HOME)] == ["ci"]
        assert [each.state for each in await home.hooks.deliveries(HOME)] == [DeliveryState.WAITING]


async def test_a_webhook_that_is_put_again_keeps_its_secret_unless_another_is_given() -> None:
    async with house() as home, receiving() as receiver:
        _, made = await home.hooks.put(HOME, "ci", "https://elsewhere.example/x", request_id="r1")
        assert made.startswith("whsec_")
        first, again = await home.hooks.put(HOME, "ci", receiver.url, request_id="r2")
        assert again == ""
        await home.hooks.test(HOME, "ci")
        await home.put(receiver.url)
        await home.hooks.test(HOME, "ci")
        by_made, by_given = receiver.received
        assert by_made.is_signed_with(made)
        assert by_given.is_signed_with(SECRET)
        assert made.encode() not in first.sealed_secret


async def test_the_secret_is_on_no_disk_and_in_no_list() -> None:
    async with house() as home, receiving() as receiver:
        await home.put(receiver.url)
        await home.end(*SWEEP)
        await home.settled()
        documents = [each for kept in home.store._documents.values() for each in kept.values()]
        assert documents
        assert all(SECRET.encode() not in document.data for document in documents)
        assert SECRET not in repr(home.hooks.list(HOME))


async def test_a_secret_under_another_master_key_fails_in_words() -> None:
    async with house() as home, receiving() as receiver:
        await home.put(receiver.url)
        other = await Hooks.open(home.store, Sealer(bytes([1] * 32)), home.log, clock=lambda: 1)
        delivery = await other.test(HOME, "ci")
        assert errors(delivery) == ["Its secret does not open here: store the webhook again."]
        assert receiver.received == []


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "http://8.8.8.8/",
        "https://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "https://0.0.0.0/",
        "https://user:pass@hooks.example.com/",
        "https://hooks.example.com/x#part",
        "ftp://hooks.example.com/",
        "https://hooks.example.com/\r\nx: y",
        "http://2130706433/",
        "https://" + "a" * 2000,
    ],
)
async def test_an_address_that_nothing_should_be_sent_to_is_refused(url: str) -> None:
    async with house() as home:
        with pytest.raises(InvalidField):
            await home.put(url)
        assert home.hooks.list(HOME) == []


async def test_deliveries_are_listed_newest_first_by_webhook_and_state() -> None:
    async with house() as home, receiving() as receiver:
        await home.put(receiver.url, "one")
        await home.put(receiver.url, "two")
        for _ in range(3):
            await home.end(*SWEEP)
        found = await home.settled()
        assert [each.delivery_id for each in found] == sorted((each.delivery_id for each in found), reverse=True)
        ones = await home.hooks.deliveries(HOME, hook="one")
        assert ([each.hook for each in ones], len(found)) == (["one"] * 3, 6)
        assert await home.hooks.deliveries(HOME, hook="one", before=ones[0].delivery_id, limit=1) == [ones[1]]
        assert await home.hooks.deliveries(HOME, state=DeliveryState.FAILED) == []
