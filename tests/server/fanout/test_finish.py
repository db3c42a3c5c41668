import asyncio
import time
from collections.abc import Sequence

import pytest
from tests.server.fanout.panel import BROKEN, COST, HOME, PATIENCE, Answer, Script, ask, ends, of, open_room

from whet_server.errors import Reason
from whet_server.fanout.branches import CANCELLED_BY_CALLER, ENOUGH, TOO_LATE
from whet_server.fanout.spec import SynthesisMode
from whet_server.llm.base import CallSpec
from whet_server.log.events import (
    AttemptFailed,
    BranchDelta,
    BranchFinished,
    Event,
    RunFinished,
    RunOpened,
    SynthesisFinished,
)
from whet_server.log.lifecycle import BranchState
from whet_server.store.base import EventRecord
from whet_server.store.memory import MemoryStore
from whet_server.values import BranchId, RunId, RunState


def outcome(events: Sequence[Event]) -> RunFinished:
    (finished,) = of(events, RunFinished)
    assert isinstance(events[-1].payload, RunFinished)
    return finished


async def test_every_branch_answers_and_the_run_succeeds() -> None:
    async with open_room({"a/x": Answer(text="One."), "b/y": Answer(text="Two.")}) as room:
        events = await room.ask(ask("a/x", "b/y"))
    (opened,) = of(events, RunOpened)
    assert [plan.branch_id for plan in opened.branches] == ["b1", "b2"]
    assert {branch: end.text for branch, end in ends(events).items()} == {"b1": "One.", "b2": "Two."}
    assert outcome(events).state is RunState.SUCCEEDED
    assert outcome(events).totals.settled == 2 * COST
    assert not of(events, SynthesisFinished)


async def test_all_branches_are_asked_at_once() -> None:
    async with open_room({"a/x": Answer(gate="go")}) as room:
        run_id = await room.start(ask(*["a/x"] * 7))
        await room.panel.until(lambda: len(room.panel.asked) == 7)
        room.panel.gate("go").set()
        assert outcome(await room.events(run_id)).state is RunState.SUCCEEDED


async def test_enough_branches_end_the_run_and_the_rest_is_cut_off_and_billed() -> None:
    scripts: dict[str, Script] = {
        "a/fast": Answer(text="Quick."),
        "a/slow": Answer(gate="never"),
        "a/half": Answer(text="Half of this", middle="never"),
    }
    async with open_room(scripts) as room:
        events = await room.ask(ask("a/slow", "a/half", "a/fast", enough=1))
    found = ends(events)
    assert found["b1"].state is BranchState.CANCELLED
    assert found["b2"].state is BranchState.PARTIAL
    assert found["b2"].text == "Half o"
    assert found["b1"].failure == found["b2"].failure == ENOUGH
    assert outcome(events).state is RunState.SUCCEEDED
    assert outcome(events).totals.settled == 3 * COST


async def test_fewer_than_enough_is_partial() -> None:
    async with open_room({"a/x": Answer(), "a/bad": Answer(failure=BROKEN)}) as room:
        finished = outcome(await room.ask(ask("a/x", "a/bad", "a/bad", enough=2)))
    assert finished.state is RunState.PARTIAL
    assert finished.failure is not None
    assert finished.failure.reason == Reason.PROVIDER_ERROR
    assert finished.failure.metadata["missing"] == "b2 b3"


async def test_at_the_deadline_what_is_there_counts() -> None:
    async with open_room({"a/x": Answer(), "a/slow": Answer(gate="never")}) as room:
        events = await room.ask(ask("a/x", "a/slow", deadline=0.05))
    assert ends(events)["b2"].failure == TOO_LATE
    assert outcome(events).state is RunState.PARTIAL
    assert outcome(events).failure is not None


async def test_no_answer_at_all_is_a_failure_with_the_first_reason() -> None:
    async with open_room({"a/bad": Answer(failure=BROKEN)}) as room:
        finished = outcome(await room.ask(ask("a/bad", "a/bad", mode=SynthesisMode.DRAFT)))
    assert finished.state is RunState.FAILED
    assert finished.failure is not None
    assert finished.failure.reason == Reason.PROVIDER_ERROR


async def test_one_branch_can_be_cancelled_and_the_others_go_on() -> None:
    async with open_room({"a/x": Answer(gate="go"), "a/slow": Answer(gate="never")}) as room:
        run_id = await room.start(ask("a/slow", "a/x"))
        view = await room.fanouts.cancel(HOME, run_id, [BranchId("b1")])
        assert [end.state for end in view.branches] == [BranchState.CANCELLED]
        assert view.branches[0].failure == CANCELLED_BY_CALLER
        room.panel.gate("go").set()
        events = await room.events(run_id)
    assert ends(events)["b2"].state is BranchState.DONE
    assert outcome(events).state is RunState.PARTIAL


class SlowReader(MemoryStore):
    """A store that is slow to read events from, while `quick` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.quick = asyncio.Event()
        self.quick.set()
        self.asked = asyncio.Event()

    async def events(self, run_id: RunId, *, after: int = 0, limit: int = 500) -> Sequence[EventRecord]:
        found = await super().events(run_id, after=after, limit=limit)
        self.asked.set()
        await self.quick.wait()
        return found


async def test_a_run_that_ends_while_its_cancellation_is_taken_is_returned_as_it_is() -> None:
    store = SlowReader()
    async with open_room({"a/x": Answer(text="One.", gate="x")}, store=store) as room:
        run_id = await room.start(ask("a/x"))
        store.quick.clear()
        cancelling = asyncio.create_task(room.fanouts.cancel(HOME, run_id))
        async with asyncio.timeout(PATIENCE):
            await store.asked.wait()
            room.panel.gate("x").set()
            await room.fanouts.drain(PATIENCE)
            store.quick.set()
            view = await cancelling
    assert view.run.state is RunState.SUCCEEDED


async def test_cancelling_all_ends_the_run_before_it_returns() -> None:
    async with open_room({"a/x": Answer(), "a/slow": Answer(gate="never")}) as room:
        run_id = await room.start(ask("a/x", "a/slow", "a/slow", mode=SynthesisMode.VOTE))
        await room.seen(run_id, BranchFinished)
        view = await room.fanouts.cancel(HOME, run_id)
        assert view.run.state is RunState.CANCELLED
        assert [end.state for end in view.branches] == [BranchState.DONE, *[BranchState.CANCELLED] * 2]
        assert view.synthesis is not None
        assert view.synthesis.state is BranchState.CANCELLED
        assert await room.fanouts.cancel(HOME, run_id) == view


async def test_text_comes_as_deltas_with_offsets_in_code_points() -> None:
    text = "Grüße 👋 and 数学 for all of you"
    async with open_room({"a/x": Answer(text=text, gate="go", middle="more")}) as room:
        run_id = await room.start(ask("a/x"))
        watching = asyncio.create_task(room.events(run_id))
        await asyncio.sleep(0)
        room.panel.gate("go").set()
        await room.seen(run_id, BranchDelta)
        room.panel.gate("more").set()
        events = await watching
    whole = ""
    for delta in of(events, BranchDelta):
        whole = whole[: delta.offset] + delta.text
    assert whole == text == ends(events)["b1"].text


async def test_failed_attempts_are_on_the_record_before_the_end() -> None:
    async with open_room({"a/x": Answer(retries=2)}) as room:
        events = await room.ask(ask("a/x"))
    assert [failed.attempt.number for failed in of(events, AttemptFailed)] == [1, 2]
    assert {failed.branch_id for failed in of(events, AttemptFailed)} == {"b1"}


async def test_a_watcher_that_comes_in_the_middle_gets_the_text_so_far() -> None:
    async with open_room({"a/x": Answer(text="abcdef", middle="more")}) as room:
        run_id = await room.start(ask("a/x"))
        await room.seen(run_id, BranchDelta)
        late = await room.seen(run_id, BranchDelta)
        assert (late.offset, late.text) == (0, "abc")
        room.panel.gate("more").set()
        await room.events(run_id)


async def test_an_error_of_ours_ends_the_run_and_says_no_more_than_that(caplog: pytest.LogCaptureFixture) -> None:
    def broken(spec: CallSpec) -> Answer:
        raise RuntimeError("the secret inside")

    async with open_room({"a/x": Answer(gate="never"), "a/bug": broken}) as room:
        events = await room.ask(ask("a/x", "a/bug"))
    failure = outcome(events).failure
    assert outcome(events).state is RunState.FAILED
    assert failure is not None
    assert failure.reason == Reason.INTERNAL
    assert "secret" not in failure.message
    assert "the secret inside" in caplog.text


async def test_recovery_leaves_alone_what_is_under_way_here() -> None:
    async with open_room({"a/x": Answer(gate="go")}) as room:
        run_id = await room.start(ask("a/x"))
        assert await room.fanouts.recover() == 0
        room.panel.gate("go").set()
        assert outcome(await room.events(run_id)).state is RunState.SUCCEEDED
        assert len(room.panel.asked) == 1


async def test_five_hundred_branches_finish_quickly() -> None:
    text = "word " * 20
    async with open_room({"a/x": Answer(text=text)}) as room:
        started = time.perf_counter()
        events = await room.ask(ask(*["a/x"] * 500))
        took = time.perf_counter() - started
    assert outcome(events).state is RunState.SUCCEEDED
    assert len(ends(events)) == 500
    assert took < 5.0
