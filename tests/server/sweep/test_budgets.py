"""Caps of money and time are kept whatever the crowd, and end a sweep with what it has found."""

import asyncio

from tests.server.fanout.panel import HOME, ME
from tests.server.sweep.lab import USED, WORST, Clock, course, room, spec

from whet_server.log.events import RunFinished
from whet_server.sweep.spec import Retune
from whet_server.sweeping import Budget, SweepAction, SweepEnd, SweepPhase, TrialState
from whet_server.values import Nanos, RunState


async def test_the_money_is_never_exceeded_and_used_as_far_as_it_goes() -> None:
    money = Nanos(1_005)
    async with room(jitter=9) as made:
        run_id = await made.start(spec(budget=Budget(trials=12, money=money), concurrency=40))
        most = 0
        live = made.sweeps.live(run_id)
        while made.sweeps.live(run_id) is not None:
            totals = made.ledger.run_totals(run_id)
            most = max(most, totals.settled + totals.unknown + totals.reserved)
            await asyncio.sleep(0)
        events = await made.events(run_id)
        fold = await made.fold(run_id)
    assert live is not None
    assert fold.result is not None
    assert fold.result.end is SweepEnd.MONEY
    assert isinstance(events[-1].payload, RunFinished)
    assert events[-1].payload.state is RunState.PARTIAL
    assert most <= money
    assert events[-1].payload.totals.settled > money - WORST
    assert any(trial.state is TrialState.CANCELLED and trial.answers for trial in fold.trials.values())


async def test_more_money_carries_a_sweep_further() -> None:
    async with room(gate=asyncio.Event()) as made:
        run_id = await made.start(spec(budget=Budget(trials=12, money=Nanos(200))))
        await made.lab.until(lambda: made.lab.under_way == 10)
        live = made.sweeps.live(run_id)
        assert live is not None
        assert made.lab.gate is not None
        await made.sweeps.control(ME, run_id, SweepAction.RETUNE, Retune(budget=Budget(money=Nanos(100_000))))
        made.lab.gate.set()
        events = await made.events(run_id)
        fold = await made.fold(run_id)
    assert fold.result is not None
    assert fold.result.end is SweepEnd.TRIALS
    assert len(course(events)) == 12


async def test_a_cap_of_the_workspace_pauses_and_loses_nothing() -> None:
    async with room() as made:
        wanted = course(await made.events(await made.start(spec())))
    async with room() as made:
        await made.ledger.put_cap(HOME, "day", Nanos(USED * 100))
        run_id = await made.start(spec())
        await made.lab.until(lambda: (live := made.sweeps.live(run_id)) is not None and live.fold.paused)
        view = await made.sweeps.get(HOME, run_id)
        assert view.progress is not None
        assert view.progress.phase is SweepPhase.PAUSED
        assert (view.controls[0].role, view.controls[0].action) == ("server", SweepAction.PAUSE)
        assert "day" in view.controls[0].reason
        await made.ledger.put_cap(HOME, "day", Nanos(USED * 10_000))
        await made.sweeps.control(ME, run_id, SweepAction.RESUME)
        assert course(await made.events(run_id)) == wanted


async def test_a_sweep_whose_time_is_up_is_cut_off_and_concludes() -> None:
    async with room(gate=asyncio.Event()) as made:
        run_id = await made.start(spec(budget=Budget(trials=12, time_ns=20_000_000)))
        events = await made.events(run_id)
        fold = await made.fold(run_id)
    assert fold.result is not None
    assert fold.result.end is SweepEnd.TIME
    assert isinstance(events[-1].payload, RunFinished)


async def test_time_counts_from_the_start_also_over_a_crash() -> None:
    async with room(gate=asyncio.Event()) as made:
        run_id = await made.start(spec(budget=Budget(trials=12, time_ns=3_600_000_000_000)))
        await made.lab.until(lambda: made.lab.under_way == 10)
        left = await made.store.after(len(made.store.commits))
    later = Clock(Clock()() + 3_601_000_000_000)
    async with room(left, gate=asyncio.Event(), clock=later) as made:
        assert await made.sweeps.recover() == 1
        await made.events(run_id)
        fold = await made.fold(run_id)
    assert fold.result is not None
    assert fold.result.end is SweepEnd.TIME
