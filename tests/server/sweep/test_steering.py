"""A sweep is paused, resumed, stopped, cancelled and retuned; each is on the record before it has its effect."""

import asyncio
from typing import Any

import pytest
from tests.server.fanout.panel import HOME, ME
from tests.server.judge.court import RecordingStore
from tests.server.sweep.lab import Room, course, room, spec

from whet_server.errors import InvalidField, WrongState
from whet_server.log.events import RunFinished
from whet_server.sweep.fold import SweepFold
from whet_server.sweep.spec import Retune
from whet_server.sweeping import (
    Budget,
    FloatRange,
    SearchDimension,
    SweepAction,
    SweepEnd,
    SweepPhase,
    TrialState,
)
from whet_server.values import RunId, RunState


async def held(made: Room, **changed: Any) -> tuple[RunId, asyncio.Event]:
    """Start a sweep whose cases wait at a gate."""
    gate = made.lab.gate = asyncio.Event()
    run_id = await made.start(spec(**changed))
    await made.lab.until(lambda: made.lab.under_way == 10)
    return run_id, gate


async def ended(made: Room, run_id: RunId) -> tuple[RunState, SweepFold]:
    events = await made.events(run_id)
    assert isinstance(events[-1].payload, RunFinished)
    return events[-1].payload.state, await made.fold(run_id)


async def test_a_paused_sweep_begins_nothing_and_goes_on_when_it_is_resumed() -> None:
    async with room() as made:
        run_id, gate = await held(made)
        view = await made.sweeps.control(ME, run_id, SweepAction.PAUSE)
        assert view.progress is not None
        assert view.progress.phase is SweepPhase.PAUSED
        gate.set()
        await made.lab.until(lambda: not made.lab.under_way)
        asked = len(made.lab.asked)
        await asyncio.sleep(0)
        assert asked == len(made.lab.asked) == 10
        await made.sweeps.control(ME, run_id, SweepAction.RESUME)
        state, _ = await ended(made, run_id)
        assert state is RunState.SUCCEEDED


async def test_a_pause_changes_nothing_of_what_is_found() -> None:
    async with room() as made:
        wanted = course(await made.events(await made.start(spec())))
    async with room() as made:
        run_id, gate = await held(made)
        await made.sweeps.control(ME, run_id, SweepAction.PAUSE)
        gate.set()
        await made.sweeps.control(ME, run_id, SweepAction.RESUME)
        assert course(await made.events(run_id)) == wanted


async def test_a_pause_survives_the_server() -> None:
    async with room() as made:
        run_id, _ = await held(made)
        await made.sweeps.control(ME, run_id, SweepAction.PAUSE)
        left = await made.store.after(len(made.store.commits))
    async with room(left) as made:
        assert await made.sweeps.recover() == 1
        view = await made.sweeps.get(HOME, run_id)
        assert view.progress is not None
        assert view.progress.phase is SweepPhase.PAUSED
        await made.sweeps.control(ME, run_id, SweepAction.RESUME)
        state, _ = await ended(made, run_id)
    assert state is RunState.SUCCEEDED


async def test_a_stopped_sweep_lets_what_is_under_way_land_and_concludes() -> None:
    async with room() as made:
        run_id, gate = await held(made)
        await made.sweeps.control(ME, run_id, SweepAction.STOP)
        gate.set()
        state, fold = await ended(made, run_id)
        assert len(made.lab.asked) == 10
    assert fold.result is not None
    assert fold.result.end is SweepEnd.STOPPED
    assert sum(len(trial.answers) for trial in fold.trials.values()) == 10
    assert {trial.state for trial in fold.trials.values()} == {TrialState.CANCELLED}
    assert state is RunState.SUCCEEDED


async def test_a_cancelled_sweep_cuts_off_what_is_under_way_and_keeps_what_it_has() -> None:
    async with room() as made:
        run_id, _ = await held(made)
        view = await made.sweeps.control(ME, run_id, SweepAction.CANCEL)
        assert view.run.state is RunState.CANCELLED
        assert view.run.totals.unknown == 10 * 20
        assert view.result is not None
        assert view.result.end is SweepEnd.CANCELLED
        again = await made.sweeps.control(ME, run_id, SweepAction.CANCEL)
        assert again.run.state is RunState.CANCELLED
        with pytest.raises(WrongState):
            await made.sweeps.control(ME, run_id, SweepAction.PAUSE)


@pytest.mark.parametrize("action", [SweepAction.STOP, SweepAction.CANCEL])
async def test_an_end_that_is_on_the_record_holds_after_a_crash(action: SweepAction) -> None:
    async with room() as made:
        run_id, _ = await held(made)
        await made.sweeps.control(ME, run_id, action)
        left = await until_controlled(made.store)
    async with room(left) as made:
        assert await made.sweeps.recover() == 1
        _, fold = await ended(made, run_id)
        assert not made.lab.asked
    assert fold.result is not None
    assert fold.result.end is {SweepAction.STOP: SweepEnd.STOPPED, SweepAction.CANCEL: SweepEnd.CANCELLED}[action]


async def until_controlled(store: RecordingStore) -> RecordingStore:
    """Return the store as it stood just after the control became durable."""
    at = next(
        at
        for at, writes in enumerate(store.commits, start=1)
        if any(b'"sweep_controlled"' in getattr(write, "record", b"") for write in writes)
    )
    return await store.after(at)


async def test_a_retuned_space_holds_for_the_trials_that_are_suggested_from_then_on() -> None:
    cooler = SearchDimension(name="heat", float_range=FloatRange(low=0.0, high=0.1))
    async with room() as made:
        run_id, gate = await held(made)
        await made.sweeps.control(ME, run_id, SweepAction.RETUNE, Retune(space=(cooler,)))
        gate.set()
        _, fold = await ended(made, run_id)
        first = fold.controls[0].from_trial
        assert 0 < first < 12
        for number in range(first, 12):
            assert float(fold.trials[number].configuration["heat"]) <= 0.1
        whole, wanted = made.store, course(await made.events(run_id))
    left = await whole.after(len(whole.commits) * 2 // 3)
    async with room(left) as made:
        assert await made.sweeps.recover() == 1
        assert course(await made.events(run_id)) == wanted


async def test_a_sweep_is_given_more_trials_and_other_concurrency() -> None:
    async with room() as made:
        run_id, gate = await held(made)
        retune = Retune(budget=Budget(trials=15), concurrency=4)
        view = await made.sweeps.control(ME, run_id, SweepAction.RETUNE, retune)
        assert (view.plan.budget.trials, view.plan.trials) == (15, 15)
        gate.set()
        await made.lab.until(lambda: not made.lab.under_way)
        made.lab.most = 0
        _, fold = await ended(made, run_id)
        assert len(fold.trials) == 15
        assert made.lab.most <= 4


async def test_a_retune_that_widens_or_says_nothing_is_refused() -> None:
    hotter = SearchDimension(name="heat", float_range=FloatRange(low=0.0, high=2.0))
    async with room() as made:
        run_id, _ = await held(made)
        for wrong in (Retune(), Retune(space=(hotter,)), Retune(budget=Budget(trials=1))):
            with pytest.raises(InvalidField):
                await made.sweeps.control(ME, run_id, SweepAction.RETUNE, wrong)
        assert not (await made.fold(run_id)).controls
