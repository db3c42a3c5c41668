"""A sweep by reflection: each rewritten text is a trial, given up where it is no better, and the same after a kill."""

from tests.server.fanout.panel import HOME
from tests.server.judge.court import RecordingStore
from tests.server.sweep.lab import course, items, room, spec

from whet_server.judging import Item
from whet_server.log.events import CasesFinished, TrialStarted
from whet_server.sweeping import Budget, Configuration, Sampler, SamplerKind, SweepEnd, TrialState
from whet_server.values import ModelName, RunId

SAMPLER = Sampler(kind=SamplerKind.REFLECTION, reflection_model=ModelName("house/m"), minibatch=3)
SPEC = spec(space=(), sampler=SAMPLER, items=items(12), budget=Budget(trials=6))


def truth(configuration: Configuration, item: Item, sample: int) -> float:
    """Each rewrite is better than the one before it, and every third is a failure."""
    number = int(str(configuration.get("s.template", "rewrite 0")).rpartition(" ")[2])
    return 0.0 if number % 3 == 2 else min(1.0, 0.2 + 0.1 * number)


async def whole() -> tuple[RecordingStore, RunId, object]:
    async with room(truth=truth, jitter=3) as made:
        run_id = await made.start(SPEC)
        events = await made.events(run_id)
        return made.store, run_id, (course(events), (await made.fold(run_id)).result)


async def test_rewritten_texts_are_trials_and_the_poor_ones_are_given_up() -> None:
    async with room(truth=truth) as made:
        run_id = await made.start(SPEC)
        await made.events(run_id)
        fold = await made.fold(run_id)
    assert fold.result is not None
    assert fold.result.end is SweepEnd.TRIALS
    assert len(fold.trials) == 6
    states = {trial.state for trial in fold.trials.values()}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(trial.texts for number, trial in fold.trials.items() if number)
    best = fold.trials[fold.result.best or 0]
    assert best.number > 0
    assert best.texts[0].text.startswith("{{ input }}")


async def test_a_sweep_by_reflection_that_is_killed_goes_on_as_the_one_that_was_not() -> None:
    store, run_id, wanted = await whole()
    words = [f'"{kind.__struct_config__.tag}"'.encode() for kind in (TrialStarted, CasesFinished)]
    cuts = [
        at
        for at, writes in enumerate(store.commits, start=1)
        if any(word in getattr(write, "record", b"") for write in writes for word in words)
    ]
    for cut in cuts[:: max(1, len(cuts) // 4)]:
        left = await store.after(cut)
        async with room(left, truth=truth) as made:
            before = {
                (number, *key) for number, trial in (await made.fold(run_id)).trials.items() for key in trial.answers
            }
            assert await made.sweeps.recover() == 1
            events = await made.events(run_id)
            assert (course(events), (await made.fold(run_id)).result) == wanted, cut
            assert not before & {(each.number, each.item.item_id, each.sample) for each in made.lab.asked}
            assert (await made.log.verify(HOME, run_id)).valid
