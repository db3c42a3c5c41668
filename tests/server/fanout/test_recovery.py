import random
from collections.abc import Sequence

import pytest
from tests.server.fanout.panel import COST, HOME, PRICE, Answer, Panel, Room, Script, ask, ends, entry, of, open_room

from whet_server.errors import Reason, WrongState
from whet_server.fanout.spec import FanoutSpec, SynthesisMode
from whet_server.ledger.prices import Price
from whet_server.llm.paid import INTERRUPTED
from whet_server.log.events import (
    BranchFinished,
    DraftEnded,
    DraftStarted,
    Event,
    RunFinished,
    RunOpened,
    SynthesisFinished,
)
from whet_server.log.lifecycle import BranchState
from whet_server.store.memory import MemoryStore
from whet_server.values import Billing, Run, RunId, RunState

SCRIPTS: dict[str, Script] = {
    "a/x": Answer(text="Alpha is one."),
    "a/y": Answer(text="Beta is two.", gate="y"),
    "a/z": Answer(text="Gamma is three.", gate="z"),
    "d/m": Answer(text="Alpha is one. Beta is two."),
}
SPEC = ask("a/x", "a/x", "a/y", "a/z", mode=SynthesisMode.DRAFT, draft_by="d/m")


async def record(spec: FanoutSpec) -> tuple[MemoryStore, RunId, list[Event]]:
    """Run a fan-out with several drafts and return all that is on its record."""
    async with open_room(SCRIPTS) as room:
        run_id = await room.start(spec)
        await room.seen(run_id, DraftEnded)
        room.panel.gate("y").set()
        await room.seen(run_id, DraftEnded, lambda end: end.revision == 2)
        room.panel.gate("z").set()
        await room.events(run_id)
        return room.store, run_id, list(await room.log.events(HOME, run_id))


async def crashed(store: MemoryStore, run_id: RunId, length: int) -> MemoryStore:
    """Return a store as it stood when only the first `length` events were durable."""
    run = await store.run(run_id)
    assert run is not None
    kept = (await store.events(run_id))[:length]
    before = MemoryStore()
    row = Run(
        run_id=run_id,
        workspace=run.workspace,
        kind=run.kind,
        title=run.title,
        state=RunState.RUNNING,
        role=run.role,
        create_ns=run.create_ns,
        event_count=length,
        head_hash=kept[-1].hash,
    )
    await before.commit(row, *kept)
    return before


def opened_panel(store: MemoryStore, price: Price | None = PRICE) -> Panel:
    panel = Panel(SCRIPTS, price=price, store=store)
    panel.gate("y").set()
    panel.gate("z").set()
    return panel


def check_whole(events: Sequence[Event]) -> None:
    """Hold a record to what every finished run keeps."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    (opened,) = of(events, RunOpened)
    ended = [end.branch_id for end in of(events, BranchFinished)]
    assert sorted(ended) == sorted(plan.branch_id for plan in opened.branches)
    starts = [start.revision for start in of(events, DraftStarted)]
    assert starts == list(range(1, len(starts) + 1))
    assert sorted(end.revision for end in of(events, DraftEnded)) == starts
    assert len(of(events, SynthesisFinished)) == 1
    assert len(of(events, RunFinished)) == 1
    assert isinstance(events[-1].payload, RunFinished)


async def recovered(room: Room, run_id: RunId) -> list[Event]:
    assert await room.fanouts.recover() == 1
    await room.events(run_id)
    assert await room.fanouts.recover() == 0
    assert (await room.log.verify(HOME, run_id)).valid
    return list(await room.log.events(HOME, run_id))


@pytest.mark.parametrize("seed", range(3))
async def test_every_prefix_of_a_record_leads_to_a_finished_run_and_nothing_is_paid_twice(seed: int) -> None:
    chance = random.Random(seed)
    recorded, run_id, events = await record(SPEC)
    for length in range(1, len(events)):
        store = await crashed(recorded, run_id, length)
        panel = opened_panel(store)
        done = {end.branch_id for end in of(events[:length], BranchFinished)}
        async with open_room(SCRIPTS, panel=panel, store=store) as room:
            view = await room.fanouts.get(HOME, run_id)
            left = [plan for plan in view.plan if plan.branch_id not in done]
            sent = [plan for plan in left if chance.random() < 0.5]
            for plan in sent:
                await store.commit(entry(RunId(run_id), f"{run_id}/{plan.branch_id}", plan.model))
            whole = await recovered(room, run_id)
        check_whole(whole)
        found = ends(whole)
        asked = {call.call_id for call in panel.asked}
        assert not asked & {f"{run_id}/{plan.branch_id}" for plan in sent}
        assert not asked & {f"{run_id}/{branch}" for branch in done}
        for plan in sent:
            assert found[plan.branch_id].failure == INTERRUPTED
            assert found[plan.branch_id].totals.unknown == COST
        assert all(found[plan.branch_id].state is BranchState.DONE for plan in left if plan not in sent)
        (synthesis,) = of(whole, SynthesisFinished)
        if not of(events[:length], SynthesisFinished):
            done_now = {branch for branch, end in found.items() if end.state is BranchState.DONE}
            assert set(synthesis.branch_ids) == done_now


async def test_a_draft_in_flight_is_interrupted_and_the_next_revision_goes_on() -> None:
    recorded, run_id, events = await record(SPEC)
    length = next(at for at, event in enumerate(events, start=1) if isinstance(event.payload, DraftStarted))
    store = await crashed(recorded, run_id, length)
    await store.commit(entry(run_id, f"{run_id}/draft-1", "d/m"))
    async with open_room(SCRIPTS, panel=opened_panel(store), store=store) as room:
        whole = await recovered(room, run_id)
    first, *later = of(whole, DraftEnded)
    assert first.failure == INTERRUPTED
    assert first.totals.unknown == COST
    assert later
    assert of(whole, SynthesisFinished)[0].revision > 1
    assert of(whole, RunFinished)[0].totals.unknown == COST


async def test_what_costs_nothing_is_asked_again() -> None:
    recorded, run_id, _ = await record(SPEC)
    store = await crashed(recorded, run_id, 1)
    for branch, model in (("b1", "a/x"), ("b3", "a/y")):
        await store.commit(entry(run_id, f"{run_id}/{branch}", model, reserved=0))
    panel = opened_panel(store, Price(input=0, output=0, source="local"))
    async with open_room(SCRIPTS, panel=panel, store=store) as room:
        whole = await recovered(room, run_id)
    assert of(whole, RunFinished)[0].state is RunState.SUCCEEDED


async def test_what_the_cache_still_has_is_asked_again_and_what_it_cost_is_not_forgotten() -> None:
    recorded, run_id, _ = await record(SPEC)
    store = await crashed(recorded, run_id, 1)
    await store.commit(entry(run_id, f"{run_id}/b1", "a/x", billing=Billing.SETTLED))
    panel = opened_panel(store)
    panel.cached = True
    async with open_room(SCRIPTS, panel=panel, store=store) as room:
        whole = await recovered(room, run_id)
    assert of(whole, RunFinished)[0].state is RunState.SUCCEEDED
    assert ends(whole)["b2"].totals.settled == COST
    assert (
        ends(whole)["b1"].totals.settled == COST + COST
    )  # the scripted caller takes its price for a cached answer too


async def test_an_entry_that_names_no_call_stands_for_every_open_branch_of_its_model() -> None:
    recorded, run_id, _ = await record(SPEC)
    store = await crashed(recorded, run_id, 1)
    await store.commit(entry(run_id, "", "a/x"))
    async with open_room(SCRIPTS, panel=opened_panel(store), store=store) as room:
        whole = await recovered(room, run_id)
    found = ends(whole)
    assert [found[branch].failure for branch in ("b1", "b2")] == [INTERRUPTED] * 2
    assert [found[branch].state for branch in ("b3", "b4")] == [BranchState.DONE] * 2


async def test_a_released_entry_was_never_sent() -> None:
    recorded, run_id, _ = await record(SPEC)
    store = await crashed(recorded, run_id, 1)
    await store.commit(entry(run_id, f"{run_id}/b1", "a/x", billing=Billing.NONE))
    async with open_room(SCRIPTS, panel=opened_panel(store), store=store) as room:
        whole = await recovered(room, run_id)
    assert of(whole, RunFinished)[0].state is RunState.SUCCEEDED


async def test_a_deadline_that_passed_while_the_server_was_down_cuts_what_is_left() -> None:
    spec = ask("a/x", "a/x", "a/y", "a/z", mode=SynthesisMode.VOTE, deadline=86_000.0)
    async with open_room(SCRIPTS) as room:
        run_id = await room.start(spec)
        await room.seen(run_id, BranchFinished, lambda end: end.branch_id == "b2")
        await room.fanouts.drain(0)
        store = room.store
    panel = Panel(SCRIPTS, store=store)
    async with open_room(SCRIPTS, panel=panel, store=store, hours_later=24) as room:
        whole = await recovered(room, run_id)
    found = ends(whole)
    assert {found[branch].state for branch in ("b3", "b4")} == {BranchState.CANCELLED}
    failure = found["b3"].failure
    assert failure is not None
    assert failure.reason == Reason.DEADLINE_EXCEEDED
    assert not panel.asked


async def test_a_drained_server_leaves_its_runs_to_the_next_one() -> None:
    async with open_room(SCRIPTS) as room:
        run_id = await room.start(SPEC)
        await room.seen(run_id, DraftEnded)
        await room.fanouts.drain(0.01)
        assert (await room.log.run(HOME, run_id)).state is RunState.RUNNING
        assert len(room.panel.ended) == len(room.panel.asked)
        store = room.store
    async with open_room(SCRIPTS, panel=opened_panel(store), store=store) as room:
        check_whole(await recovered(room, run_id))


async def test_a_run_that_waits_for_recovery_cannot_be_cancelled_yet() -> None:
    recorded, run_id, _ = await record(SPEC)
    store = await crashed(recorded, run_id, 1)
    async with open_room(SCRIPTS, panel=opened_panel(store), store=store) as room:
        with pytest.raises(WrongState):
            await room.fanouts.cancel(HOME, run_id)
        check_whole(await recovered(room, run_id))


async def test_a_run_whose_spec_cannot_be_read_any_more_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    recorded, run_id, events = await record(SPEC)
    store = await crashed(recorded, run_id, 1)
    opened = of(events, RunOpened)[0]
    broken = RunOpened(run_id=RunId("fan_0"), kind=opened.kind, title="", role=opened.role, spec="{}")
    async with open_room(SCRIPTS, store=store) as room:
        run = Run(
            run_id=broken.run_id,
            workspace=HOME,
            kind=opened.kind,
            title="",
            state=RunState.RUNNING,
            role=opened.role,
            create_ns=1,
        )
        await room.log.open(run, broken)
    async with open_room(SCRIPTS, panel=opened_panel(store), store=store) as room:
        assert await room.fanouts.recover() == 2
        view = await room.fanouts.get(HOME, broken.run_id)
        await room.events(run_id)
    assert view.run.state is RunState.FAILED
    assert view.failure == INTERRUPTED
    assert "cannot be read" in caplog.text
