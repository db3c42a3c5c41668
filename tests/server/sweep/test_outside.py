"""Trials that outside programs run."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.server.fanout.panel import HOME, ME, PATIENCE
from tests.server.judge.court import RecordingStore
from tests.server.sweep.lab import Clock, Room, course, items, room, spec, truth

from whet_server.errors import InvalidField, Reason, RunNotFound, TrialNotFound, WrongState
from whet_server.judging import Item, Outcome
from whet_server.log.events import TrialStarted
from whet_server.sweep.outside import Asked, Given, OutsideTrials, ToldCase
from whet_server.sweep.spec import Outside, SweepSpec
from whet_server.sweeping import (
    Budget,
    Configuration,
    Racing,
    RacingMethod,
    SweepAction,
    SweepEnd,
    SweepPhase,
    Trial,
    TrialState,
    configuration_of,
)
from whet_server.values import RunId, RunState, Workspace

LEASE = 60.0
NO_RACING = Racing(method=RacingMethod.NONE)


def outside(**changed: object) -> SweepSpec:
    """Twelve trials of twenty-four cases, three at once."""
    return spec(pipeline=None, outside=Outside(lease=LEASE), **changed)


def small(**changed: object) -> SweepSpec:
    return outside(**({"items": items(8), "budget": Budget(trials=4), "racing": NO_RACING} | changed))


def measured(trial: Given) -> list[ToldCase]:
    """What a program finds: whatever the truth of the lab is."""
    return [
        ToldCase(case_id=item.item_id, score=truth(configuration_of(trial.trial.parameters), item, 1))
        for item in trial.cases
    ]


def scores(trial: Given, score: float) -> list[ToldCase]:
    return [ToldCase(case_id=item.item_id, score=score) for item in trial.cases]


@dataclass
class Bench:
    """A sweep that outside programs run."""

    room: Room
    clock: Clock
    trials: OutsideTrials
    run_id: RunId
    kept: list[list[int]] = field(default_factory=list)

    async def ask(self, count: int = 1, worker: str = "w") -> Asked:
        def record(numbers: Sequence[int]) -> tuple[()]:
            self.kept.append(list(numbers))
            return ()

        return await self.trials.ask(HOME, self.run_id, count, worker, record)

    async def numbers(self, count: int = 1, worker: str = "w") -> list[int]:
        return [trial.number for trial in (await self.ask(count, worker)).trials]

    async def one(self) -> Given:
        (trial,) = (await self.ask()).trials
        return trial

    async def tell(
        self, number: int, cases: Sequence[ToldCase] = (), *, finished: bool = False, failure: str = ""
    ) -> tuple[Trial, bool]:
        return await self.trials.tell(HOME, self.run_id, number, cases, finished=finished, failure=failure)

    async def work(self, find: Callable[[Given], list[ToldCase]] = measured, pieces: int = 100) -> None:
        """Be a program: ask, tell in pieces, until there are no more trials."""
        while not (asked := await self.ask()).ended:
            for trial in asked.trials:
                found = [case for case in find(trial) if case.case_id not in trial.told_case_ids]
                for at in range(0, len(found), pieces):
                    if (await self.tell(trial.number, found[at : at + pieces]))[1]:
                        break
                if not trial.cases:
                    await self.tell(trial.number, finished=True)
            await asyncio.sleep(0)

    async def end(self) -> SweepEnd:
        await self.room.events(self.run_id)
        result = (await self.room.fold(self.run_id)).result
        assert result is not None
        return result.end

    async def configurations(self) -> dict[int, Configuration]:
        return {number: trial.configuration for number, trial in (await self.room.fold(self.run_id)).trials.items()}


@asynccontextmanager
async def bench(
    wanted: SweepSpec | None = None, store: RecordingStore | None = None, run_id: RunId = RunId("")
) -> AsyncIterator[Bench]:
    """Open a room, and start a sweep, or take those up that the store holds."""
    clock = Clock()
    async with asyncio.timeout(PATIENCE), room(store, clock=clock) as made:
        opened = Bench(made, clock, OutsideTrials(made.sweeps), run_id)
        if wanted is not None:
            opened.run_id = await made.start(wanted)
        else:
            assert await made.sweeps.recover() == 1
        yield opened


async def test_no_more_trials_are_out_than_the_sweep_allows_at_once() -> None:
    async with bench(small(trials_at_once=3)) as it:
        first = await it.ask(10)
        assert [trial.number for trial in first.trials] == [0, 1, 2]
        again = await it.ask(10, "other")
        assert (again.trials, again.ended, again.retry_after) == ((), False, 1.0)
        await it.tell(1, scores(first.trials[1], 1.0))
        assert await it.numbers(10) == [], "trial 3 knows trial 0, which has not ended"
        await it.tell(0, scores(first.trials[0], 1.0))
        assert await it.numbers(10) == [3]
        assert it.kept == [[0], [0, 1], [0, 1, 2], [3]], "what answers a request id became durable with each trial"


async def test_a_trial_is_given_with_its_cases_in_order_and_what_its_labels_stand_for() -> None:
    async with bench(small()) as it:
        trial = await it.one()
        order = [item.item_id for item in await it.room.sweeps.cases(HOME, (await it.room.fold(it.run_id)).record)]
        assert [item.item_id for item in trial.cases] == order != sorted(order)
        assert configuration_of(trial.trial.parameters) == {"heat": 0.0, "kind": "a"}
        assert trial.texts == (), "a label without text is the value itself"
        assert trial.lease_expire_ns == it.clock() + 60 * 10**9
        started = [each.payload for each in await it.room.log.events(HOME, it.run_id)]
        assert [each.worker for each in started if isinstance(each, TrialStarted)] == ["w"]


async def test_a_lease_that_ran_out_gives_the_same_trial_to_the_next_client() -> None:
    async with bench(small(trials_at_once=1)) as it:
        first = await it.one()
        await it.tell(0, scores(first, 1.0)[:3])
        assert await it.numbers() == []
        it.clock.now_ns = first.lease_expire_ns
        (again,) = (await it.ask(worker="another")).trials
        assert (again.number, again.trial.parameters) == (0, first.trial.parameters)
        assert again.told_case_ids == tuple(item.item_id for item in first.cases[:3])
        assert again.lease_expire_ns == first.lease_expire_ns + 60 * 10**9


async def test_telling_keeps_a_lease_alive() -> None:
    async with bench(small(trials_at_once=1)) as it:
        first = await it.one()
        it.clock.now_ns = first.lease_expire_ns - 1
        await it.tell(0, scores(first, 1.0)[:1])
        it.clock.now_ns = first.lease_expire_ns + 1
        assert await it.numbers() == []


async def test_what_was_told_before_counts_once() -> None:
    async with bench(small()) as it:
        trial = await it.one()
        cases = scores(trial, 1.0)
        await it.tell(0, cases[:4])
        changed = [ToldCase(case_id=case.case_id, score=0.0) for case in cases[:4]]
        standing, _ = await it.tell(0, changed)
        assert (standing.cases, standing.answers, standing.quality.value) == (4, 4, 1.0)
        twice = await asyncio.gather(*(it.tell(0, cases[4:]) for _ in range(3)))
        assert {each.answers for each, _ in twice} == {8}


async def test_the_order_of_clients_changes_neither_trials_nor_what_is_found() -> None:
    found = []
    for workers, pieces in ((1, 100), (4, 100), (3, 5)):
        async with bench(outside(racing=NO_RACING)) as it:
            await asyncio.gather(*(it.work(pieces=pieces) for _ in range(workers)))
            events = await it.room.events(it.run_id)
            found.append((course(events), (await it.room.fold(it.run_id)).result))
    assert len(found[0][0]) == 12
    assert found[0] == found[1] == found[2]


async def test_racing_says_stop_in_the_middle_of_a_trial() -> None:
    racing = Racing(method=RacingMethod.PAIRED, min_cases=8)
    async with bench(outside(racing=racing, trials_at_once=1)) as it:
        baseline = await it.one()
        assert (await it.tell(0, scores(baseline, 1.0)))[1] is False
        bad = await it.one()
        told = scores(bad, 0.0)
        at, stop = 0, False
        while not stop:
            trial, stop = await it.tell(1, told[at : at + 4])
            at += 4
        assert (trial.state, trial.cases) == (TrialState.PRUNED, at)
        assert at < len(told)
        assert trial.reason.startswith("worse than the baseline")
        late, stop = await it.tell(1, told)
        assert (late.cases, stop) == (at, True), "what is told of it later is passed over"
        assert await it.numbers() == [2]


async def test_an_answer_without_a_score_is_scored_by_the_sweep() -> None:
    async with bench(small()) as it:
        trial = await it.one()
        outputs = ["yes", "no", "", "yes"]
        cases = [
            ToldCase(case_id=item.item_id, output=output) for item, output in zip(trial.cases, outputs, strict=False)
        ]
        standing, _ = await it.tell(0, cases)
        assert (standing.scored_cases, standing.quality.value) == (4, 0.5)
        answers = (await it.room.fold(it.run_id)).trials[0].answers
        assert [answers[item.item_id, 1].score for item in trial.cases[:4]] == [1.0, 0.0, 0.0, 1.0]


async def test_a_failure_is_a_failure_and_never_a_score() -> None:
    async with bench(small()) as it:
        trial = await it.one()
        cases = [ToldCase(case_id=trial.cases[0].item_id, failure="it broke"), *scores(trial, 1.0)[1:]]
        standing, _ = await it.tell(0, cases)
        assert standing.state is TrialState.FAILED, "one of eight is more than a tenth"
        (failed,) = [each for each in (await it.room.fold(it.run_id)).trials[0].answers.values() if each.failure]
        assert (failed.outcome, failed.score) == (Outcome.FAILED, None)
        assert failed.failure is not None
        assert (failed.failure.reason, failed.failure.message) == (Reason.OUTSIDE_FAILED, "it broke")


async def test_a_trial_that_is_finished_without_some_cases_counts_them_as_failures() -> None:
    async with bench(outside(racing=NO_RACING)) as it:
        trial = await it.one()
        standing, _ = await it.tell(0, scores(trial, 1.0)[:-2], finished=True)
        assert (standing.state, standing.cases, standing.scored_cases) == (TrialState.COMPLETE, 24, 22)
        second = await it.one()
        standing, stop = await it.tell(1, scores(second, 1.0)[:-3], finished=True)
        assert (standing.state, stop) == (TrialState.FAILED, True)
        assert standing.quality.value == 1.0, "the mean is that of what was scored"


async def test_a_whole_trial_that_failed_has_failed_whatever_its_cases_said() -> None:
    async with bench(small()) as it:
        trials = (await it.ask(3)).trials
        standing, _ = await it.tell(0, scores(trials[0], 1.0)[:7], failure="out of memory")
        assert standing.state is TrialState.FAILED
        assert standing.failure is not None
        assert (standing.failure.reason, standing.failure.message) == (Reason.OUTSIDE_FAILED, "out of memory")


async def test_a_sweep_without_cases_takes_any_and_ends_a_trial_when_it_is_told_to() -> None:
    async with bench(small(items=(), scorers=())) as it:
        first, second = (await it.ask(2)).trials
        assert first.cases == ()
        await it.tell(1, [ToldCase(case_id="b", score=0.5)], finished=True)
        standing, _ = await it.tell(0, [ToldCase(case_id="a", score=0.25), ToldCase(case_id="b", score=0.25)])
        assert standing.state is TrialState.RUNNING
        standing, _ = await it.tell(0, [ToldCase(case_id="c", score=1.0)], finished=True)
        assert (standing.state, standing.cases, standing.quality.value) == (TrialState.COMPLETE, 3, 0.5)
        await it.work(lambda trial: [ToldCase(case_id="b", score=0.1 * trial.number)])
        assert await it.end() is SweepEnd.TRIALS
        ended = (await it.room.fold(it.run_id)).trials
        assert [ended[number].state for number in range(4)] == [TrialState.COMPLETE] * 4
        assert second.number == 1


async def test_a_paused_sweep_gives_nothing_takes_scores_and_leaves_answers_for_later() -> None:
    async with bench(small(trials_at_once=2)) as it:
        trial = await it.one()
        await it.room.sweeps.control(ME, it.run_id, SweepAction.PAUSE)
        paused = await it.ask()
        assert (paused.trials, paused.ended, paused.retry_after) == ((), False, 1.0)
        assert (await it.tell(0, scores(trial, 1.0)[:2]))[0].cases == 2
        with pytest.raises(WrongState, match="is paused"):
            await it.tell(0, [ToldCase(case_id=trial.cases[2].item_id, output="yes")])
        await it.room.sweeps.control(ME, it.run_id, SweepAction.RESUME)
        assert (await it.tell(0, [ToldCase(case_id=trial.cases[2].item_id, output="yes")]))[0].cases == 3
        assert await it.numbers() == [1]


async def test_a_sweep_says_that_it_waits_for_a_program() -> None:
    async with bench(small()) as it:
        phases = []
        for control in (None, SweepAction.PAUSE, SweepAction.RESUME, SweepAction.STOP):
            if control is not None:
                await it.room.sweeps.control(ME, it.run_id, control)
            progress = (await it.room.sweeps.get(HOME, it.run_id)).progress
            phases.append(progress and progress.phase)
        assert phases[:3] == [SweepPhase.WAITING, SweepPhase.PAUSED, SweepPhase.WAITING]
        assert phases[3] is SweepPhase.SEARCH


@pytest.mark.parametrize("action", [SweepAction.STOP, SweepAction.CANCEL])
async def test_a_sweep_that_is_stopped_tells_its_programs(action: SweepAction) -> None:
    async with bench(small()) as it:
        trials = (await it.ask(2)).trials
        await it.tell(0, scores(trials[0], 1.0))
        await it.room.sweeps.control(ME, it.run_id, action)
        late, stop = await it.tell(1, scores(trials[1], 1.0))
        assert (late.state, late.cases, stop) == (TrialState.CANCELLED, 0, True)
        assert (await it.ask()).ended
        assert await it.end() is SweepEnd(action.value + ("ped" if action is SweepAction.STOP else "led"))
        again = await it.trials.again(HOME, it.run_id, [0, 1])
        assert ([trial.number for trial in again.trials], again.ended) == ([0, 1], True)


async def test_what_is_wrong_is_named_before_anything_is_taken() -> None:
    async with bench(small()) as it:
        trial = await it.one()
        wrong = [
            ToldCase(case_id=trial.cases[0].item_id, score=1.0),
            ToldCase(case_id="nowhere", score=1.0),
            ToldCase(case_id=trial.cases[1].item_id, score=1.0, failure="and it broke"),
        ]
        with pytest.raises(InvalidField) as caught:
            await it.tell(0, wrong)
        assert [path for path, _ in caught.value.violations] == ["cases[1].case_id", "cases[2].failure"]
        assert (await it.room.fold(it.run_id)).trials[0].answers == {}
        with pytest.raises(TrialNotFound, match="its trials are 0 to 0"):
            await it.tell(5)


async def test_where_nothing_scores_a_score_is_asked_for() -> None:
    async with bench(small(items=(Item(item_id="a", input="x"), Item(item_id="b", input="y")), scorers=())) as it:
        await it.one()
        with pytest.raises(InvalidField, match="nothing scores answers in this sweep"):
            await it.tell(0, [ToldCase(case_id="a", output="z")])


async def test_a_sweep_of_another_kind_or_of_another_workspace_gives_nothing() -> None:
    async with bench(small()) as it:
        pipeline = await it.room.start(spec())
        with pytest.raises(InvalidField, match="runs its trials itself"):
            await it.trials.ask(HOME, pipeline, 1, "", lambda _: ())
        with pytest.raises(RunNotFound):
            await it.trials.ask(Workspace("theirs"), it.run_id, 1, "", lambda _: ())
        with pytest.raises(RunNotFound):
            await it.trials.tell(Workspace("theirs"), it.run_id, 0, [])
        await it.room.events(pipeline)


async def test_asked_trials_and_told_cases_are_there_after_a_kill_at_any_point() -> None:
    """What a program has been answered is so after every kill that comes later."""
    promised: list[tuple[int, int, int, object]] = []
    async with bench(small(trials_at_once=2)) as it:
        store = it.room.store
        for trial in (await it.ask(2)).trials:
            promised.append((len(store.commits), trial.number, 0, trial.trial.parameters))
            for at in range(0, 6, 2):
                await it.tell(trial.number, measured(trial)[at : at + 2])
                promised.append((len(store.commits), trial.number, at + 2, trial.trial.parameters))
        run_id = it.run_id
        commits = len(store.commits)
    for cut in sorted({at for at, *_ in promised} | {commits}):
        async with bench(store=await store.after(cut), run_id=run_id) as again:
            found = (await again.room.fold(run_id)).trials
            for at, number, cases, parameters in promised:
                if at <= cut:
                    assert found[number].parameters == parameters
                    assert len(found[number].answers) >= cases
            assert await again.numbers(5) == [] or cut < commits, "a trial that was given stays given for its lease"


async def test_a_sweep_that_is_killed_with_programs_at_work_ends_as_the_one_that_was_not() -> None:
    async with bench(small()) as it:
        await asyncio.gather(it.work(), it.work(pieces=3))
        events = await it.room.events(it.run_id)
        whole = course(events), (await it.room.fold(it.run_id)).result
        store, run_id = it.room.store, it.run_id
    for cut in range(2, len(store.commits), 3):
        left = await store.after(cut)
        run = await left.run(run_id)
        if run is None or run.state is not RunState.RUNNING:
            continue
        async with bench(store=left, run_id=run_id) as again:
            again.clock.now_ns += 10**12  # the programs are gone, and so are their leases
            await asyncio.gather(again.work(), again.work(pieces=2))
            events = await again.room.events(run_id)
            assert (course(events), (await again.room.fold(run_id)).result) == whole, cut


async def test_an_end_that_was_told_outlives_a_kill_while_the_baseline_is_under_way() -> None:
    async with bench(small(items=(), scorers=())) as it:
        await it.ask(3)
        await it.tell(1, [ToldCase(case_id="a", score=1.0)], finished=True)
        await it.tell(2, failure="no such model")
        store, run_id = await it.room.store.after(len(it.room.store.commits)), it.run_id
    async with bench(store=store, run_id=run_id) as again:
        again.clock.now_ns += 10**12
        assert await again.numbers(5) == [0], "the others have been told to the end"
        await again.tell(0, [ToldCase(case_id="a", score=0.5)], finished=True)
        await again.numbers(5)
        found = (await again.room.fold(run_id)).trials
        assert [found[number].state for number in (0, 1, 2)] == [
            TrialState.COMPLETE,
            TrialState.COMPLETE,
            TrialState.FAILED,
        ]
