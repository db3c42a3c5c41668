"""A sweep from its start to its conclusion, whatever happens on the way."""

from tests.server.fanout.panel import HOME
from tests.server.sweep.lab import course, room, spec

from whet_server.log.events import RunFinished, SweepConcluded
from whet_server.sweeping import SweepEnd, TrialState
from whet_server.values import RunState


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
