"""A sweep from its start to its conclusion, whatever happens on the way."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from msgspec.structs import replace
from tests.server.fanout.panel import HOME, ME, PATIENCE
from tests.server.sweep.lab import Room, course, items, room, space, spec

from whet_server.errors import InvalidField, Reason
from whet_server.log.events import CasesFinished, RunFinished, SweepConcluded, SweepProgress
from whet_server.log.log import Batch
from whet_server.sweeping import (
    Budget,
    FloatRange,
    Sampler,
    SamplerKind,
    SearchDimension,
    SweepEnd,
    TrialState,
)
from whet_server.values import Failure, RunId, RunState


async def test_a_sweep_runs_its_trials_and_concludes() -> None:
    async with room() as made:
        run_id = await made.start(spec())
        events = await made.events(run_id)
        view = await made.sweeps.get(HOME, run_id)
    concluded = [event.payload for event in events if isinstance(event.payload, SweepConcluded)]
    assert len(course(events)) == 12
    assert concluded[0].result.end is SweepEnd.TRIALS
    assert isinstance(events[-1].payload, RunFinished)
    assert events[-1].payload.state is RunState.SUCCEEDED
    assert view.baseline is not None
    assert view.baseline.state is TrialState.COMPLETE


async def test_a_sweep_in_which_nothing_could_be_scored_is_refused() -> None:
    bare = tuple(replace(item, reference="") for item in items(3))
    async with room() as made:
        with pytest.raises(InvalidField, match="no case has a reference, which exact compares with"):
            await made.sweeps.plan(ME, spec(items=bare, scorers=("exact",)))


async def test_the_same_seed_gives_the_same_trials_whatever_the_latencies() -> None:
    courses, results = [], []
    for jitter in (0, 3, 40):
        async with room(jitter=jitter) as made:
            run_id = await made.start(spec())
            events = await made.events(run_id)
            courses.append(course(events))
            results.append((await made.fold(run_id)).result)
    assert courses[0] == courses[1] == courses[2]
    assert results[0] == results[1] == results[2]


async def test_at_most_so_many_cases_are_under_way_and_no_case_is_asked_twice() -> None:
    async with room(jitter=9) as made:
        await made.events(await made.start(spec(concurrency=5)))
        asked = [(each.number, each.item.item_id, each.sample) for each in made.lab.asked]
    assert made.lab.most == 5
    assert len(asked) == len(set(asked))


async def test_a_trial_without_enough_scores_has_failed_and_never_wins() -> None:
    broken = Failure(reason=Reason.PROVIDER_ERROR, message="broken")
    async with room(
        broken=lambda question: broken if question.number == 2 and question.place % 5 == 0 else None
    ) as made:
        run_id = await made.start(spec())
        events = await made.events(run_id)
        fold = await made.fold(run_id)
    end = fold.trials[2].end
    assert end is not None
    assert end.failure is not None
    assert fold.result is not None
    assert (end.state, end.failure.reason) == (TrialState.FAILED, Reason.TOO_FEW_SCORES)
    assert fold.result.best != 2
    assert isinstance(events[-1].payload, RunFinished)
    assert events[-1].payload.state is RunState.PARTIAL


async def test_a_sweep_in_which_nothing_is_scored_ends_soon_and_has_failed() -> None:
    broken = Failure(reason=Reason.PROVIDER_ERROR, message="broken")
    async with room(broken=lambda _: broken) as made:
        run_id = await made.start(spec())
        events = await made.events(run_id)
        fold = await made.fold(run_id)
    assert fold.result is not None
    assert fold.result.end is SweepEnd.FAILED
    assert isinstance(events[-1].payload, RunFinished)
    assert events[-1].payload.state is RunState.FAILED
    assert len(fold.trials) < 12


async def test_a_grid_ends_when_every_combination_was_tried() -> None:
    grid = (SearchDimension(name="heat", float_range=FloatRange(low=0, high=1, step=0.5)), space()[1])
    async with room() as made:
        run_id = await made.start(spec(space=grid, sampler=Sampler(kind=SamplerKind.GRID), budget=Budget()))
        await made.events(run_id)
        fold = await made.fold(run_id)
    assert fold.result is not None
    assert fold.result.end in {SweepEnd.SPACE, SweepEnd.TRIALS}
    assert len({tuple(trial.parameters) for trial in fold.trials.values()}) == len(fold.trials) == 9


async def followed(made: Room, run_id: RunId) -> AsyncGenerator[Batch, None]:
    async for batch in made.sweeps.watch(HOME, run_id, "now"):
        yield batch


async def test_a_watcher_that_comes_late_learns_how_far_the_sweep_is() -> None:
    async with room(gate=asyncio.Event()) as made:
        run_id = await made.start(spec())
        await made.lab.until(lambda: made.lab.under_way == 10)
        async with asyncio.timeout(PATIENCE), aclosing(followed(made, run_id)) as batches:
            first = await anext(batches)
            progress = [event.payload for event in first.events if isinstance(event.payload, SweepProgress)]
        assert progress[0].in_flight == 10


async def test_cases_can_be_left_out_of_a_watch() -> None:
    async with room() as made:
        run_id = await made.start(spec())
        await made.events(run_id)
        payloads = [
            event.payload
            async for batch in made.sweeps.watch(HOME, run_id, without_cases=True)
            for event in batch.events
        ]
    assert not any(isinstance(payload, CasesFinished) for payload in payloads)
    assert isinstance(payloads[-1], RunFinished)
