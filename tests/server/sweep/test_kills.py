"""Killed at any commit, a sweep goes on to the trials, the stops and the best that it would have had."""

from collections.abc import Iterable

import pytest
from tests.server.fanout.panel import HOME
from tests.server.judge.court import RecordingStore
from tests.server.sweep.lab import course, room, spec

from whet_server.log.events import CasesFinished, RunFinished, TrialFinished
from whet_server.sweep.spec import SweepSpec
from whet_server.values import RunId, RunState

SPEC = spec()


async def recorded(wanted: SweepSpec = SPEC) -> tuple[RecordingStore, RunId, object]:
    """Run to the end; return everything that became durable on the way, in its order, and what came of it."""
    async with room(jitter=5) as made:
        run_id = await made.start(wanted)
        events = await made.events(run_id)
        return made.store, run_id, (course(events), (await made.fold(run_id)).result)


async def taken_up(whole: RecordingStore, run_id: RunId, cuts: Iterable[int], wanted: object) -> None:
    """Cut the run off after each of these commits, let it go on, and compare it with the whole one."""
    for cut in cuts:
        store = await whole.after(cut)
        run = await store.run(run_id)
        if run is None or run.state is not RunState.RUNNING:
            continue
        async with room(store, jitter=3) as made:
            before = await made.fold(run_id)
            finished = {(number, *key) for number, trial in before.trials.items() for key in trial.answers}
            assert await made.sweeps.recover() == 1
            events = await made.events(run_id)
            found = course(events), (await made.fold(run_id)).result
            assert (await made.log.verify(HOME, run_id)).valid
        assert found == wanted, cut
        assert not finished & {(each.number, each.item.item_id, each.sample) for each in made.lab.asked}, cut
        assert sum(isinstance(event.payload, RunFinished) for event in events) == 1


def edges(whole: RecordingStore, kinds: tuple[type, ...]) -> list[int]:
    """Return the commits after which something of these kinds is on the record."""
    names = tuple(f'"{kind.__struct_config__.tag}"'.encode() for kind in kinds)  # type: ignore[attr-defined]
    return [
        at
        for at, writes in enumerate(whole.commits, start=1)
        if any(name in getattr(write, "record", b"") for write in writes for name in names)
    ]


async def test_a_sweep_that_is_killed_goes_on_as_the_one_that_was_not() -> None:
    whole, run_id, wanted = await recorded()
    at = edges(whole, (CasesFinished, TrialFinished))
    await taken_up(whole, run_id, at[:: len(at) // 5], wanted)


@pytest.mark.slow
async def test_a_sweep_that_is_killed_at_any_commit_goes_on_as_the_one_that_was_not() -> None:
    whole, run_id, wanted = await recorded()
    await taken_up(whole, run_id, range(1, len(whole.commits) + 1), wanted)
